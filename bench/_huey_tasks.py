"""huey's side of bench/jobs.py: a task that runs a program, as ours do."""

import os
import subprocess

from huey import SqliteHuey

PATIENCE = 60.0  # seconds for a lock on the file; on a busy computer 5, its default, are too few
huey = SqliteHuey(filename=os.environ["BENCH_HUEY"], fsync=True, timeout=PATIENCE)


@huey.task()  # type: ignore[untyped-decorator, unused-ignore]
def true() -> int:
    return subprocess.run(["/bin/true"], check=True).returncode
