"""Worker processes: heavy work beside the agents' process, at low priority.

Python runs one thread at a time: whatever computes for a second in a thread of a process that has agents makes every
message in it late (decision 0055). `Worker` is such a process seen from the reactor's thread, ``process`` the program
that runs in it, and ``programs`` is for jobs that need programs of others.
"""

from pyros.workers.worker import Worker

__all__ = ["Worker"]
