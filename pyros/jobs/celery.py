"""Celery's application of the observatory: for those who want the real thing. Needs the extra ``celery``.

    celery -A pyros.jobs worker -Q reduce -n reduce@dome -c 1

The INI is the one that PYROS_AGENT_CONFIG names, else the working folder's; its section ``[celery]`` may name another
broker, and the modules that have tasks. A program that asks for tasks imports this module first.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pyros.errors import ConfigError
from pyros.sender import current_config


def _app() -> Any:
    try:
        from pyros.jobs.celery_app import make_app  # noqa: PLC0415  the extra may be missing

        config = current_config()
        for place in (*config.celery.path, config.path.parent):
            if str(place) not in sys.path:
                sys.path.append(str(place))
        return make_app(config)
    except ConfigError as error:
        if Path(sys.argv[0]).name == "celery":  # its command line would print a traceback
            raise SystemExit(f"pyros: {error}") from None
        raise


app = _app()
