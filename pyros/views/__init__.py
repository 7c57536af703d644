"""What people and programs look at: plain functions that read journals and archive, and return structs.

Console, API, live updates, metrics and command line use these and nothing else; nothing here writes, sends or waits for
anybody (decision 0069). One module a subject, each with one function of its name; lists are paged by what the page
before has given (``after``), so that a page far down costs what the first one costs.

    observed = views.observed("pyros_agent_config.ini")
    frame = views.frame(observed)
    print(frame.night.word, frame.night.text)

Times are the observatory's, Unix seconds; a process lives by the computer's clock (`pyros.clock.steady_seconds`). Any
thread may ask. No Twisted, no Django.
"""

from __future__ import annotations

from pyros.views.frame import FrameHead, ObservatoryFrame, changes, frame, head
from pyros.views.observed import Observed, observed

__all__ = ["FrameHead", "ObservatoryFrame", "Observed", "changes", "frame", "head", "observed"]
