"""Jobs: long work beside the agents, never lost and really stopped.

A queue is an agent (`pyros.agents.jobs`), its ledger stands in that agent's journal. ``ledger`` has the tables and
what may become of a job, ``runner`` starts the processes and hears of their ends, ``wrapper`` is the program around
each job, ``tasks`` are Python functions as jobs.
"""

from pyros.jobs.tasks import AsyncResult, Task, progress, revoke, shared_task

__all__ = ["AsyncResult", "Task", "progress", "revoke", "shared_task"]
