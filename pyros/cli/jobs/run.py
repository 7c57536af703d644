"""``pyros jobs run``, ``revoke`` and ``clean``: messages to the queues' agents, and how a job is getting on."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

from pyros import config as configuration
from pyros import messages
from pyros.cli.common import ConfigOption, complain, err, out, progress_bar
from pyros.cli.jobs.find import JobArgument, QueueOption, find
from pyros.clock import Deadline
from pyros.config import Config
from pyros.errors import JobError, JournalError
from pyros.jobs.ledger import JobRow
from pyros.jobs.names import queue_of, queues
from pyros.jobs.reading import folder_of, ledgers, progress_of
from pyros.jobs.scripts import Parameter, Script, read_script, script_folders
from pyros.messages import JobRequest, JobRevoked, JobsCleaned
from pyros.quantities import DURATIONS, quantity
from pyros.sender import Sender
from pyros.unique import new_name

_LOOK_SECONDS = 0.1
_MAX_SHOWN = 20
_EVER = 1e9
_duration = quantity(DURATIONS, 0.0, 1e9)


def run(
    script: Annotated[
        str | None,
        typer.Argument(
            metavar="[SCRIPT]", help="A script's name; without it the scripts are listed.", show_default=False
        ),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=VALUE]...", help="The script's parameters: NAME=VALUE, each.", show_default=False
        ),
    ] = None,
    queue: QueueOption = "",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Don't wait for its end.")] = False,
    priority: Annotated[
        int, typer.Option(min=0, max=9, help="Of jobs that wait the one with the highest number goes first.")
    ] = 0,
    on_crash: Annotated[
        str,
        typer.Option(
            metavar="tell|rerun", help="What becomes of it after a power cut: it is told as crashed, or run again."
        ),
    ] = "tell",
    config: ConfigOption = None,
) -> None:
    """Run a script of a queue's folder (option_scripts) as a job, and show how far it is until it has ended.

    Its lines ##~~ name (type = default) - description say which parameters it
    takes. No value passes a shell. Ctrl-C leaves the job running. The exit code
    is 0 when it succeeded.

    Examples:
      pyros jobs run
      pyros jobs run add.sh night=2026-03-20 stars=50
      pyros jobs run add.sh night=2026-03-20 --detach
    """
    loaded = configuration.load(config)
    if script is None:
        _show_scripts(loaded, queue)
        return
    if on_crash not in ("tell", "rerun"):
        raise typer.BadParameter(f"--on-crash is tell or rerun, not {on_crash!r}")
    agent, found = _find_script(loaded, script, queue)
    command, files = found.arguments(_pairs(values or []))
    request = JobRequest(
        id=new_name(), name=found.name[:200], command=command, files=files, priority=priority,
        on_crash="rerun" if on_crash == "rerun" else "tell",
    )  # fmt: skip
    Sender.send_to(agent, messages.JOB_REQUESTED, request, config=loaded)
    if detach:
        out.print(request.id)
        return
    try:
        row = _follow(loaded, agent, request)
    except KeyboardInterrupt:
        err.print(
            f"job {request.id} goes on; pyros jobs log {request.id[:8]} -f; pyros jobs revoke {request.id[:8]} -t"
        )
        raise typer.Exit(130) from None
    if row.state != "succeeded":
        where = folder_of(loaded, row)
        raise JobError(f"{found.name} ({row.id}) {row.state}: {row.reason}; what it printed: {where / 'log'}")
    out.print(f"OK: {found.name}, job {row.id}: {folder_of(loaded, row) / 'work'}")


def revoke(
    job: JobArgument,
    terminate: Annotated[
        bool, typer.Option("--terminate", "-t", help="End it when it runs, with all that it has started.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Keep a job from beginning; with --terminate, also end it when it runs.

    Examples:
      pyros jobs revoke 3f2a
      pyros jobs revoke 3f2a --terminate
    """
    loaded = configuration.load(config)
    with ledgers(loaded) as readers:
        row = find(readers, job)
        if row.ended is not None:
            raise JobError(f"job {row.id} has ended: it {_has(row.state)}")
        order = JobRevoked(id=row.id, terminate=terminate)
        Sender.send_to(row.queue, messages.JOB_REVOKED, order, config=loaded)
        after = find(readers, row.id)
        if after.state == "running" and not terminate:
            raise JobError(f"job {row.id} runs already; --terminate ends it")
        deadline = Deadline(_EVER)
        while after.ended is None:
            deadline.pause(_LOOK_SECONDS)
            after = find(readers, row.id)
    out.print(f"OK: job {row.id} {_has(after.state)}")


def clean(
    older: Annotated[str, typer.Option(metavar="TIME", help="How long ago they must have ended: 7d, 12 h.")],
    queue: QueueOption = "",
    config: ConfigOption = None,
) -> None:
    """Forget the jobs that ended long ago, and remove their folders. What waits or runs stays.

    Examples:
      pyros jobs clean --older 7d
      pyros jobs clean --older 12h --queue reduce
    """
    loaded = configuration.load(config)
    try:
        seconds = _duration(older)
    except ValueError as error:
        raise typer.BadParameter(f"--older {error}") from None
    names = [queue_of(loaded, queue)] if queue else [section.name for section in queues(loaded)]
    if not names:
        raise JobError(f"{loaded.path}: no queue; give one a section, with app = pyros.agents.jobs")
    for name in names:
        Sender.send_to(name, messages.JOBS_CLEANED, JobsCleaned(older=seconds), config=loaded)
        out.print(f"OK: {name} forgets what ended more than {older} ago")


def _pairs(values: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in values:
        name, equals, value = word.partition("=")
        if not equals:
            raise typer.BadParameter(f"{word!r} is not like name=value")
        if name in pairs:
            raise typer.BadParameter(f"{name} is given twice")
        pairs[name] = value
    return pairs


def _find_script(config: Config, name: str, queue: str) -> tuple[str, Script]:
    """Return the script of that name, or of that name and one ending; raises JobError when it isn't one."""
    names: list[str] = []
    for folder in script_folders(config, queue):
        found, problems = folder.scripts()
        names += [script.name for script in found]
        for script in found:
            if name in (script.name, script.path.stem):
                return folder.queue, script
        file = folder.folder / name
        if any(f"{file}:" in problem for problem in problems):
            read_script(file, folder.prefix, folder.inbox)  # raises, and says why
        if "/" not in name and file.is_file():
            raise JobError(f"{file}: is not executable; chmod +x makes it")
    if not names:
        raise JobError(f"{config.path}: no queue has scripts; option_scripts of its section names their folder")
    raise JobError(f"no script {name!r} (there are: {', '.join(names)})")


def _show_scripts(config: Config, queue: str) -> None:
    folders = script_folders(config, queue)
    if not folders:
        raise JobError(f"{config.path}: no queue has scripts; option_scripts of its section names their folder")
    for folder in folders:
        found, problems = folder.scripts()
        for script in found:
            out.print(f"{script.name}{'  ' + script.text if script.text else ''}  [{folder.queue}]", style="bold")
            for parameter in script.parameters:
                out.print(f"  {_described(parameter)}")
        for problem in problems:
            complain(problem)
        if not found:
            out.print(f"{folder.folder}: no executable files")


def _described(parameter: Parameter) -> str:
    choices = parameter.choices or tuple(parameter.files()[:_MAX_SHOWN])
    kind = f"one of {', '.join(choices)}" if choices else parameter.type
    default = "" if parameter.default is None else f", {parameter.default or 'empty'} by default"
    return f"{parameter.name} ({kind}{default})  {parameter.text}".rstrip()


def _follow(config: Config, queue: str, request: JobRequest) -> JobRow:
    """Show how far a job is until it has ended."""
    deadline = Deadline(_EVER)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
    with progress_bar(*columns) as progress:
        bar = progress.add_task(request.name, total=None, text="pending")
        while True:
            try:
                with ledgers(config, queue) as readers:
                    while True:
                        row = find(readers, request.id)
                        if row.ended is not None:
                            return row
                        said = progress_of(config, row)
                        if said is not None:
                            text = f"{said.percent:.0f} % {said.text}"[:60]
                            progress.update(bar, total=100, completed=said.percent, text=text)
                        else:
                            progress.update(bar, text=row.state)
                        deadline.pause(_LOOK_SECONDS)
            except JournalError:
                deadline.pause(_LOOK_SECONDS)


def _has(state: str) -> str:
    """Return a state as the end of a sentence about a job."""
    return state if state in ("succeeded", "failed", "crashed", "expired") else f"was {state}"
