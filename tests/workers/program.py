"""A program with a worker that is busy: ``program.py JOB FILE``; it ends when somebody kills it."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.logger import Logger

from pyros.clock import RealClock
from pyros.workers import Worker
from tests.workers import jobs

reactor: Any = _reactor
worker = Worker(reactor, RealClock(reactor), Logger("program"), "test")
reactor.callWhenRunning(lambda: worker.run(getattr(jobs, sys.argv[1]), sys.argv[2], seconds=600))
reactor.run()
