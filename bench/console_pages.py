"""What a console's pages cost of a processor: each of those that `bench/alert_to_slew.py --console` asks for.

    python bench/console_pages.py                   200 requests of each page while the observatory rests, while two
                                                    agents commit before every request, and while all of them do
    python bench/console_pages.py --quick           20 of each
    python bench/console_pages.py --before FOLDER   beside another version, a checkout with its own .venv: in turns, of
                                                    the same observatory, at the same time

The observatory is the demo's, a process of its own, and so is each console. CPU is the console's own, from the kernel,
from before a request until after its answer.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench._common import PATIENCE, BenchReport, arguments, free_ports
from bench._console_visitor import PAGES
from bench.console import SignedInBrowser, copy_observatory, cpu, is_listening, is_up, running, wait_for
from pyros import config as configuration
from pyros import messages
from pyros.config import Config
from pyros.messages import ReleaseOrder
from pyros.orders import tell
from pyros.sender import Sender


@contextmanager
def other_console(config: Config, folder: Path, port: int) -> Iterator[tuple[Config, int]]:
    """Another version's console beside the same observatory: with another port, and people of its own."""
    path = config.path.with_name("before.ini")
    text = config.path.read_text().replace(f"port = {config.console.port}", f"port = {port}")  # type: ignore[union-attr]
    path.write_text(text.replace("[console]", "[console]\nfolder = var/console-before", 1))
    twistd = folder / ".venv" / "bin" / "twistd"
    with config.path.with_name("before.log").open("wb") as log:
        process = subprocess.Popen(
            [folder / ".venv" / "bin" / "python", twistd, "-n", "--pidfile=", "pyros-console", "--config", str(path)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield configuration.load(path), process.pid
    finally:
        process.terminate()
        process.wait(PATIENCE)


def measure(
    report: BenchReport,
    consoles: dict[str, tuple[SignedInBrowser, int]],
    changes: Mapping[str, Callable[[], object]],
    count: int,
) -> None:
    """Ask every console for every page, in turns, and tell what each took."""
    rows = []
    for page in PAGES:
        report.doing(page)
        cells = []
        for change in changes.values():
            spent: dict[str, list[float]] = {version: [] for version in consoles}
            for _ in range(count):
                for version, (browser, pid) in consoles.items():
                    change()
                    before = cpu(pid)
                    status, _, text = browser.ask("GET", page)
                    spent[version].append(1e3 * (cpu(pid) - before))
                    assert status == 200, (page, status, text[:200])
            cells.append({version: sum(values) / count for version, values in spent.items()})
        ratios = [cell["now"] / cell["before"] for cell in cells] if "before" in consoles else []
        for name, cell in zip(changes, cells, strict=True):
            report.figures(f"a page: {page}", while_=name, requests=count, **{f"{v}_ms": ms for v, ms in cell.items()})
        rows.append((page, *(" → ".join(f"{ms:.1f}" for ms in cell.values()) for cell in cells),
                     *(f"{ratio:.2f}" for ratio in ratios)))  # fmt: skip
    columns = ("", *changes, *(f"ratio, {name}" for name in changes if "before" in consoles))
    report.table("Milliseconds of CPU for a request", columns, rows)


def main() -> None:
    parser = arguments("What a console's pages cost of a processor.")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="another version's checkout, to compare with")
    given = parser.parse_args()
    report = BenchReport("console_pages", given.json, ["Django"])
    with tempfile.TemporaryDirectory(prefix="bench-pages-", dir=given.dir) as folder, ExitStack() as stack:
        config = copy_observatory(Path(folder))
        assert config.console is not None
        report.doing("the observatory starts")
        stack.enter_context(running(config, "pyros", "--no-console"))
        consoles: dict[str, tuple[Config, int]] = {}
        if given.before is not None:
            consoles["before"] = stack.enter_context(other_console(config, given.before.absolute(), free_ports(1)[0]))
        consoles["now"] = config, stack.enter_context(running(config, "pyros-console")).pid
        wait_for("the observatory", lambda: is_up(config))
        for settings, _ in consoles.values():
            wait_for("the console", lambda settings=settings: is_listening(settings))
        changes = {
            "resting": lambda: None,
            "two commit": lambda: Sender.send_to("scheduler", "Plan again", config=config),
            "all commit": lambda: [*tell(config, messages.RELEASE, ReleaseOrder(who="bench"), PATIENCE)],
        }
        browsers = {name: (SignedInBrowser(settings, "visitor"), pid) for name, (settings, pid) in consoles.items()}
        measure(report, browsers, changes, 20 if given.quick else 200)
    report.ends()


if __name__ == "__main__":
    main()
