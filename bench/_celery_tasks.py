"""Celery's side of bench/jobs.py: a task that runs a program, as ours do."""

import subprocess

from celery import shared_task


@shared_task  # type: ignore[untyped-decorator, unused-ignore]
def true() -> int:
    return subprocess.run(["/bin/true"], check=True).returncode
