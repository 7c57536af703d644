"""The section Jobs: what queues do, scripts as forms, and one job with its log and outputs.

One's own jobs are seen by oneself and by operators; those that nobody asked for by the console, by operators alone.
"""

from __future__ import annotations

from typing import Any

import msgspec
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect

from pyros import messages
from pyros.config import Config
from pyros.console.answers.doing import note
from pyros.console.answers.errors import problem
from pyros.console.caller import Caller, caller_of
from pyros.console.roles import Role
from pyros.console.sealed import Download, seal
from pyros.errors import DeliveryError, JobError
from pyros.jobs.ledger import JobRow
from pyros.jobs.names import queues
from pyros.jobs.outbox import outputs
from pyros.jobs.reading import ledgers, log_tail, progress_of
from pyros.jobs.scripts import Parameter, Script, script_folders
from pyros.messages import JobRequest, JobRevoked
from pyros.sender import Sender
from pyros.unique import new_name

_LOG_BYTES = 32_768
_PATIENCE = 5.0
DOWNLOAD_SECONDS = 86_400.0


class JobLine(msgspec.Struct):
    """A job in the list."""

    id: str
    queue: str
    name: str
    state: str
    owner: str
    """Who asked for it by the console; else the agent or program."""
    asked: float
    """Unix seconds, as the other times."""
    begun: float | None
    ended: float | None
    attempt: int
    """How many times it has begun."""
    reason: str
    """Why it has no success; '' for one."""
    percent: float | None = None
    """How far a running one is, of 100."""
    doing: str = ""
    """What it is doing, in its own words."""


class ParameterField(msgspec.Struct):
    """A script's parameter, as a form has it."""

    name: str
    type: str
    choices: list[str]
    """What it may be; [] for anything of its type."""
    default: str | None
    text: str


class Form(msgspec.Struct):
    """A script that may be run."""

    queue: str
    name: str
    text: str
    fields: list[ParameterField]


class Scheduled(msgspec.Struct):
    """A job that is done again and again."""

    name: str
    queue: str
    every: str
    next: float | None
    """When it is due, Unix seconds."""
    what: str


class JobsPage(msgspec.Struct):
    """The page."""

    jobs: list[JobLine]
    """The newest first."""
    queues: dict[str, dict[str, int]]
    """Of each queue, how many jobs are in each state."""
    scripts: list[Form]
    problems: list[str]
    """What is wrong with scripts that cannot be run."""
    scheduled: list[Scheduled]
    may_run: bool


class Output(msgspec.Struct):
    """A file that a job has left."""

    name: str
    size: int
    """Bytes."""
    link: str
    """Where it is taken, for a day, by anybody who has the link."""


class JobPage(msgspec.Struct):
    """One job."""

    job: JobLine
    command: list[str]
    log: str
    """The end of what it has printed."""
    traceback: str
    result: Any
    """What a task returned."""
    outputs: list[Output]
    live: bool
    """It has not ended."""
    may_end: bool


def jobs(request: HttpRequest, state: str = "", limit: int = 100) -> JobsPage:
    """Return what queues do, and what may be asked for. Raises JournalError."""
    caller, config = caller_of(request), _config()
    mine = "" if caller.role >= Role.OPERATOR else caller.name
    lines: list[JobLine] = []
    counts: dict[str, dict[str, int]] = {}
    if queues(config):
        with ledgers(config) as readers:
            for reader in readers:
                counts[reader.queue] = reader.counts()
                lines += [_line(config, row) for row in reader.jobs(state=state, owner=mine, last=limit)]
    lines.sort(key=lambda line: -line.asked)
    forms, problems = _forms(config)
    now = settings.CONSOLE.clock.time()
    scheduled = [
        Scheduled(job.name, job.queue, job.every.text, job.every.next_after(now), job.task or " ".join(job.command))
        for job in config.jobs
    ]
    return JobsPage(lines[:limit], counts, forms, problems, scheduled, caller.role >= Role.OBSERVER)


def job(request: HttpRequest, name: str) -> JobPage | None:
    """Return one job; None where there is none that the caller may see. Raises JournalError."""
    caller, config = caller_of(request), _config()
    row = _find(config, caller, name)
    if row is None:
        return None
    secret = settings.CONSOLE.secret
    left = [
        Output(file, size, f"/download/{seal(secret, Download(row.queue, row.id, file), DOWNLOAD_SECONDS)}")
        for file, size in outputs(config, row.queue, row.id)
    ]
    return JobPage(
        _line(config, row), list(row.request.command) or [row.request.task], log_tail(config, row, _LOG_BYTES),
        row.end.traceback if row.end is not None and caller.role >= Role.ADMIN else "",
        row.end.value if row.end is not None else None, left, row.ended is None,
        row.ended is None and caller.role >= Role.OBSERVER,
    )  # fmt: skip


def run(request: HttpRequest) -> HttpResponse:
    """Ask for a script as a job of the caller's. Values are checked; no shell sees them."""
    caller, config = caller_of(request), _config()
    queue, name = str(request.POST.get("queue", "")), str(request.POST.get("script", ""))
    script = next((each for agent, each in _scripts(config)[0] if (agent, each.name) == (queue, name)), None)
    if script is None:
        return problem(request, 400, f"there is no script {name[:100]!r} in a queue {queue[:100]!r}")
    given = {each.name: _text(request, each) for each in script.parameters if f"value-{each.name}" in request.POST}
    values = {each: value for each, value in given.items() if value != "" or not _has_default(script, each)}
    try:
        command, files = script.arguments(values)
        asked = JobRequest(id=new_name(), name=name[:200], command=command, files=files, owner=caller.name[:100])
        Sender.send_to(queue, messages.JOB_REQUESTED, asked, config=config, timeout=_PATIENCE)
    except JobError as error:
        return problem(request, 400, str(error))
    except DeliveryError as error:
        note(caller, "run", f"{name}: {error.reason}", ok=False)
        return problem(request, 503, f"{queue} does not take it: {error.reason}")
    note(caller, "run", f"{name}, job {asked.id}")
    return HttpResponseRedirect(f"/jobs/{asked.id}", status=303)


def end(request: HttpRequest, name: str) -> HttpResponse:
    """Keep a job from beginning, or end it with all that it has started."""
    caller, config = caller_of(request), _config()
    row = _find(config, caller, name)
    if row is None:
        raise Http404
    order = JobRevoked(id=row.id, terminate=True)
    try:
        Sender.send_to(row.queue, messages.JOB_REVOKED, order, config=config, timeout=_PATIENCE)
    except DeliveryError as error:
        note(caller, "end job", f"{row.id}: {error.reason}", ok=False)
        return problem(request, 503, f"{row.queue} does not take it: {error.reason}")
    note(caller, "end job", f"{row.name}, job {row.id}")
    return HttpResponseRedirect(f"/jobs/{row.id}", status=303)


def _config() -> Config:
    config: Config = settings.CONSOLE.config
    return config


def _find(config: Config, caller: Caller, id_: str) -> JobRow | None:
    """Return a job that the caller may see."""
    if not queues(config):
        return None
    with ledgers(config) as readers:
        row = next((row for reader in readers if (row := reader.job(id_)) is not None), None)
    if row is None or (caller.role < Role.OPERATOR and row.request.owner != caller.name):
        return None
    return row


def _line(config: Config, row: JobRow) -> JobLine:
    said = progress_of(config, row)
    return JobLine(
        row.id, row.queue, row.name, row.state, row.request.owner or row.asker, row.asked, row.begun, row.ended,
        row.attempt, row.reason, said.percent if said else None, said.text[:200] if said else "",
    )  # fmt: skip


def _scripts(config: Config) -> tuple[list[tuple[str, Script]], list[str]]:
    """Return all scripts with their queues, and what is wrong with others."""
    every: list[tuple[str, Script]] = []
    problems: list[str] = []
    for folder in script_folders(config):
        found, wrong = folder.scripts()
        every += [(folder.queue, script) for script in found]
        problems += wrong
    return every, problems


def _forms(config: Config) -> tuple[list[Form], list[str]]:
    found, problems = _scripts(config)
    forms = [
        Form(queue, script.name, script.text, [
            ParameterField(each.name, each.type, list(each.choices) or each.files(), each.default, each.text)
            for each in script.parameters
        ])
        for queue, script in found
    ]  # fmt: skip
    return forms, problems


def _text(request: HttpRequest, parameter: Parameter) -> str:
    """Return what a form says; browsers send ends of lines as two characters."""
    return str(request.POST[f"value-{parameter.name}"]).replace("\r\n", "\n")


def _has_default(script: Script, name: str) -> bool:
    return any(each.name == name and each.default is not None for each in script.parameters)
