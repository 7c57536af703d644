"""Jobs: long work that a queue's agent runs as processes of its own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from pyros.messages._codec import register
from pyros.messages._payload import Payload, Positive

JobId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:@+-]{0,119}$")]
"""A job's identifier, unique for ever; it is the name of the job's folder, too."""
FileName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]
MAX_RETRIES = 1000


class JobRequest(Payload, frozen=True, kw_only=True):
    """Anybody -> a job agent: run this once. A second request with the same ``id`` changes nothing."""

    id: JobId
    """The job's id, which no other job has."""
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    """What people call it: a task's name, a script's, a program's."""
    command: tuple[str, ...] = ()
    """The program and its arguments, given to no shell; () for a task."""
    task: str = ""
    """The Python function to call, ``module.function``; '' for a command."""
    args: tuple[Any, ...] = ()
    """The task's positional arguments, JSON values."""
    kwargs: dict[str, Any] = msgspec.field(default_factory=dict)
    """The task's named arguments, JSON values."""
    files: dict[FileName, str] = msgspec.field(default_factory=dict)
    """Texts that are put into the working folder before the job begins, by their file names."""
    priority: Annotated[int, msgspec.Meta(ge=0, le=9)] = 0
    """Of those that may begin, the one with the highest number does, and of these the oldest."""
    due: float = 0.0
    """It doesn't begin earlier, Unix seconds of the observatory's clock."""
    countdown: float = 0.0
    """It doesn't begin earlier than so many seconds after it was asked for."""
    expires: float | None = None
    """It doesn't begin later, Unix seconds of the observatory's clock; None: no limit."""
    expire_seconds: Positive | None = None
    """It doesn't begin later than so many seconds after it was asked for; None: no limit."""
    retries: Annotated[int, msgspec.Meta(ge=0, le=MAX_RETRIES)] = 0
    """How many times it is run again after it has failed."""
    retry_seconds: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    """The pause before the first of these, seconds; each further one is twice as long, an hour at most."""
    on_crash: Literal["tell", "rerun"] = "tell"
    """What becomes of it after a power cut, or when its wrapper was killed: it is told as crashed, or run again."""
    seconds: Positive | None = None
    """How long it may run; None: the queue's own limit."""
    memory: Annotated[int, msgspec.Meta(ge=1 << 20)] | None = None
    """Bytes that it may use with all that it starts; None: the queue's own limit."""
    niceness: Annotated[int, msgspec.Meta(ge=0, le=19)] | None = None
    """0 (as the agents) to 19 (whatever is left of the processor); None: the queue's own."""
    tell: str = ""
    """The agent that gets *Job finished*; '' for none."""
    owner: Annotated[str, msgspec.Meta(max_length=100)] = ""
    """The person who asked for it by the console, and may see and end it there; '' for nobody in particular."""


class JobRevoked(Payload, frozen=True, kw_only=True):
    """Anybody -> a job agent: this job shall not begin any more, also one whose request comes later."""

    id: JobId
    """The job's id."""
    terminate: bool = False
    """End it when it runs already, with all that it has started."""


class JobsCleaned(Payload, frozen=True, kw_only=True):
    """Anybody -> a job agent: forget the jobs that ended so long ago, and remove their folders."""

    older: Annotated[float, msgspec.Meta(ge=0)]
    """Seconds since their end."""


class JobFinished(Payload, frozen=True, kw_only=True):
    """A job agent -> the agent that the request names: the job has its end."""

    id: JobId
    """The job's id."""
    name: str
    """The job's name."""
    state: Literal["succeeded", "failed", "crashed", "terminated", "revoked", "expired"]
    """How it ended."""
    reason: str = ""
    """Why it has no success; '' for one."""
    value: Any = None
    """What a task returned, a JSON value."""
    owner: str = ""
    """The person who asked for it by the console; '' for nobody in particular."""


class JobProgressed(Payload, frozen=True, kw_only=True):
    """A job agent -> the notifier: a running job has come to another quarter of its work."""

    id: JobId
    """The job's id."""
    name: str
    """The job's name."""
    percent: Annotated[float, msgspec.Meta(ge=0, le=100)]
    """How much of its work is done, as it says itself."""
    text: str = ""
    """What it is doing, in its own words."""
    owner: str = ""
    """The person who asked for it by the console; '' for nobody in particular."""


JOB_REQUESTED = register("Job requested", JobRequest, guarded=True)
JOB_REVOKED = register("Job revoked", JobRevoked, guarded=True)
JOBS_CLEANED = register("Jobs cleaned", JobsCleaned, guarded=True)
JOB_FINISHED = register("Job finished", JobFinished, guarded=True)
JOB_PROGRESSED = register("Job progressed", JobProgressed, guarded=True, fleeting=True)
