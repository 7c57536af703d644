"""What stands on the console's port: Django's pages, the orders with threads of their own, live updates, files."""

from __future__ import annotations

from typing import Any

from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.wsgi import get_wsgi_application

from pyros.console.caller import may_listen
from pyros.console.console import Console
from pyros.console.feed import Feed
from pyros.console.files import StaticFiles
from pyros.console.live import Live
from pyros.console.night import NightFrames
from pyros.console.sending import DjangoPages
from pyros.console.server import Root, make_site
from pyros.reactor import Reactor


def make_stack(console: Console, reactor: Reactor, pool: Any, order_pool: Any) -> tuple[Live, Any]:
    """Return the live resource and the factory of connections. Starts nothing."""
    console.feed = Feed(NightFrames(console.observed, console.section.hide), reactor.callFromThread)
    application = get_wsgi_application()
    live = Live(reactor, pool, console.clock, console.feed, may_listen)
    storage: Any = staticfiles_storage
    root = Root(
        console,
        DjangoPages(reactor, pool, application),
        DjangoPages(reactor, order_pool, application),
        live=live,
        static=StaticFiles(storage),
    )
    return live, make_site(root, reactor)
