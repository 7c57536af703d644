"""The program of the alpaca-simulators, which answers quickly from its first request on.

At the first request that reaches a device's own routes its web framework works for a second, and on a busy computer for
longer than a driver waits. So each device is asked once in this process before the port is opened.
"""

from __future__ import annotations

import asyncio
from typing import Any

from alpaca_simulators.api import dome
from alpaca_simulators.main import app
from alpaca_simulators.run_simulator import main

QUESTIONS = (
    "telescope/0/atpark", "camera/0/camerastate", "dome/0/slewing", "filterwheel/0/position", "focuser/0/position",
    "observingconditions/0/rainrate", "safetymonitor/0/issafe", "switch/0/maxswitch",
)  # fmt: skip


async def ask(question: str) -> None:
    """Have the application answer a GET without a socket (ASGI), and drop the answer."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Any) -> None:
        return

    path = f"/api/v1/{question}"
    here = ("127.0.0.1", 0)
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
             "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [], "root_path": "",
             "server": here, "client": here}  # fmt: skip
    await app(scope, receive, send)


async def ask_all() -> None:
    """Ask each device once."""
    for question in QUESTIONS:
        await ask(question)


if __name__ == "__main__":
    dome._SLEW_DURATION_SECONDS = 0.4  # noqa: SLF001  it has no setting
    asyncio.run(ask_all())
    main()
