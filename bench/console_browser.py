"""How soon a browser shows what happens: Chromium beside an observatory and its console.

    python bench/console_browser.py            200 messages, 40 STOPs with and without JavaScript, five kills
    python bench/console_browser.py --quick    20 messages, 5 STOPs, one kill

"To the DOM" is from the moment when an agent has taken a message until the page that shows it has been changed. STOP is
from the click until the first byte of the answer, which comes when every agent has committed it; without JavaScript it
is from the form's request. After a kill -9 of the observatory the page is grey; "back" counts from the start of the new
process, and "right" from when all of its agents answer.
"""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

from bench._common import PATIENCE, BenchReport, arguments, quantile
from bench.console import copy_observatory, is_listening, is_up, running, wait_for
from pyros.clock import Deadline, steady_seconds, system_time
from pyros.config import Config
from pyros.console.links import entry_link
from pyros.console.roles import Role
from pyros.sender import Sender

_WATCH = """() => {
  window.seen = {}; window.clicked = 0; window.told = 0;
  const now = () => (performance.timeOrigin + performance.now()) / 1e3;
  document.addEventListener("frame", event => {
    for (const line of event.detail.messages)
      if (line.taken) window.seen[`${line.agent} ${line.number}`] ??= [line.taken, now()];
  });
  document.getElementById("stop").addEventListener("click", () => { window.clicked = now(); window.told = 0; }, true);
  new MutationObserver(() => { window.told ||= now(); })
    .observe(document.getElementById("ordered"), { childList: true });
}"""

_ANSWERED = """() => {
  const answer = performance.getEntriesByType("resource").find(each => each.name.endsWith("/stop"));
  return (performance.timeOrigin + answer.responseStart) / 1e3 - window.clicked;
}"""


def main() -> None:
    parser = arguments("How soon a browser shows what happens.")
    given = parser.parse_args()
    report = BenchReport("console_browser", given.json, ["playwright"])
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise SystemExit("needs playwright (extra dev)") from None
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("needs chromium (tools/system-packages)")
    messages, stops, kills = (20, 5, 1) if given.quick else (200, 40, 5)
    with tempfile.TemporaryDirectory(prefix="bench-browser-", dir=given.dir) as folder, sync_playwright() as playwright:
        config = copy_observatory(Path(folder))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            report.doing("the observatory starts")
            with running(config, "pyros-console"):
                wait_for("the console", lambda: is_listening(config))
                with running(config, "pyros", "--no-console"):
                    wait_for("the observatory", lambda: is_up(config))
                    page = signed_in(browser, config)
                    report.doing(f"{messages} messages")
                    rows = [*show_messages(report, config, page, messages)]
                    report.doing(f"{stops} STOPs with JavaScript, and {stops} without")
                    rows += stop_with_javascript(report, page, stops)
                    rows += stop_without(report, signed_in(browser, config, javascript=False), stops)
                report.doing(f"{kills} kills")
                rows += kill(report, config, page, kills)
        finally:
            browser.close()
    report.table("In Chromium", ("", "p50", "p99", "most"), rows)
    report.ends()


def signed_in(browser: Any, config: Config, *, javascript: bool = True) -> Any:
    """Open the page Tonight for an operator."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, java_script_enabled=javascript)
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    page.goto(entry_link(config, "bench", Role.OPERATOR))
    return page


def figures(report: BenchReport, what: str, values: list[float], unit: str) -> tuple[str, ...]:
    """Report a row: p50, p99 and the most."""
    scale = 1000 if unit == "ms" else 1
    p50, p99, most = (scale * each for each in (quantile(values, 0.5), quantile(values, 0.99), max(values)))
    report.figures(what, count=len(values), **{f"p50_{unit}": p50, f"p99_{unit}": p99, f"most_{unit}": most})
    return f"{what}, {unit}", *(f"{each:.0f}" if unit == "ms" else f"{each:.1f}" for each in (p50, p99, most))


def show_messages(report: BenchReport, config: Config, page: Any, count: int) -> list[tuple[str, ...]]:
    """Send messages at random times; every message that any agent takes meanwhile counts."""
    page.evaluate(_WATCH)
    shift, chance, began = config.shift_seconds(), random.Random(1), system_time()
    for _ in range(count):
        Sender.send_to("scheduler", "Plan again", config=config)
        pause = chance.uniform(0.2, 0.7)
        page.wait_for_timeout(1000 * pause)
    page.wait_for_timeout(1000)
    seen = page.evaluate("window.seen")
    late = [shown - (taken - shift) for taken, shown in seen.values() if taken - shift > began]
    if len(late) < count:
        raise SystemExit(f"the page has shown {len(late)} messages of {count}")
    return [figures(report, "a message to the DOM", late, "ms")]


def stop_with_javascript(report: BenchReport, page: Any, count: int) -> list[tuple[str, ...]]:
    """Click on STOP, and release."""
    committed, told = [], []
    for _ in range(count):
        page.evaluate("performance.clearResourceTimings()")
        page.click("#stop")
        page.wait_for_function("() => window.told")
        page.wait_for_function("() => document.getElementById('ordered').textContent.startsWith('Taken by all')")
        told.append(page.evaluate("window.told - window.clicked"))
        committed.append(page.evaluate(_ANSWERED))
        page.wait_for_selector("[data-held=yes]", state="attached")
        page.click(".release button")
        page.wait_for_selector("[data-held=no]", state="attached")
        page.wait_for_timeout(300)
    return [
        figures(report, "STOP by click, committed", committed, "ms"),
        figures(report, "... and the page says so", told, "ms"),
    ]


def stop_without(report: BenchReport, page: Any, count: int) -> list[tuple[str, ...]]:
    """Click on STOP where no script runs."""
    took: list[float] = []

    def answered(response: Any) -> None:
        if response.url.endswith("/stop"):
            took.append(response.request.timing["responseStart"] / 1000)

    page.on("response", answered)
    for _ in range(count):
        page.click("#stop")
        page.wait_for_selector("[data-held=yes]", state="attached")
        page.click(".release button")
        page.wait_for_selector("[data-held=no]", state="attached")
    if len(took) < count:
        raise SystemExit(f"{len(took)} answers to {count} STOPs")
    return [figures(report, "STOP without JavaScript, committed", took, "ms")]


def kill(report: BenchReport, config: Config, page: Any, count: int) -> list[tuple[str, ...]]:
    """Kill the observatory, wait for grey, start it again."""
    grey, back, back_after_answers = [], [], []
    for _ in range(count):
        with running(config, "pyros", "--no-console") as observatory:
            wait_for("the observatory", lambda: is_up(config))
            page.wait_for_function("() => !document.body.matches('.stale')")
            Deadline(3).pause(3)
            observatory.send_signal(signal.SIGKILL)
            began = steady_seconds()
            page.wait_for_function("() => document.body.matches('.stale')")
            grey.append(steady_seconds() - began)
        began = steady_seconds()
        with running(config, "pyros", "--no-console"):
            page.wait_for_function("() => !document.body.matches('.stale')")
            back.append(steady_seconds() - began)
            wait_for("the observatory", lambda: is_up(config))
            answers = steady_seconds()
            page.wait_for_function("() => !/STOPPED/.test(document.querySelector('[data-panel=chips]').textContent)")
            back_after_answers.append(steady_seconds() - answers)
    return [
        figures(report, "grey after a kill", grey, "s"),
        figures(report, "back after a start", back, "s"),
        figures(report, "right after all agents answer", back_after_answers, "s"),
    ]


if __name__ == "__main__":
    main()
