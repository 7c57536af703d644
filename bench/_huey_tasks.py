"""huey's side of bench/jobs.py: a task that runs a program, as ours do."""

import os
import subprocess

from huey import SqliteHuey

huey = SqliteHuey(filename=os.environ["BENCH_HUEY"], fsync=True)


@huey.task()  # type: ignore[untyped-decorator, unused-ignore]
def true() -> int:
    return subprocess.run(["/bin/true"], check=True).returncode
