"""Where a queue's jobs are, and which sections of the configuration are queues."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

from pyros.config import AgentConfig, Config
from pyros.errors import ConfigError

AGENT = "pyros.agents.jobs"
"""The module of the agents that are queues, as their sections name it: ``app = pyros.agents.jobs``."""
DEFAULT_QUEUE = "jobs"
JOB_VARIABLE = "PYROS_JOB"
"""The environment variable by which every process of a job is known."""


def queues(config: Config) -> list[AgentConfig]:
    """Return the sections that are queues."""
    return [section for section in config.agents.values() if section.app.partition(":")[0] == AGENT]


def jobs_folder(config: Config, queue: str) -> Path:
    """Return the folder of a queue's jobs."""
    return config.data / "jobs" / queue


def job_folder(root: Path, id_: str) -> Path:
    """Return a job's folder in that of its queue."""
    return root / id_


def queue_of(config: Config, name: str = "", task: str = "") -> str:
    """Return the agent's name of a queue: ``name``, with or without the beginning ``jobs_``; else the task's route.

    Routes are ``option_tasks`` of a queue's section, patterns of tasks' names separated by blanks. What has none goes
    to ``jobs``, or to the only queue there is. Raises ConfigError naming the queues there are.
    """
    known = [section.name for section in queues(config)]
    if name:
        for candidate in (name, f"jobs_{name}"):
            if candidate in known:
                return candidate
        raise ConfigError([f"{config.path}: no queue {name!r} (there are: {', '.join(known) or 'none'})"])
    for section in queues(config):
        if any(fnmatchcase(task, pattern) for pattern in section.options.get("tasks", "").split()):
            return section.name
    if DEFAULT_QUEUE in known:
        return DEFAULT_QUEUE
    if len(known) == 1:
        return known[0]
    told = f"there are: {', '.join(known)}; name one" if known else f"give one a section, with app = {AGENT}"
    raise ConfigError([f"{config.path}: no queue for {task or 'this job'} ({told})"])
