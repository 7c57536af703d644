"""What stands on the console's port: Django's pages, the orders with threads of their own, live updates, files."""

from __future__ import annotations

from typing import Any

from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import DatabaseError
from twisted.web.wsgi import WSGIResource

from pyros.console.caller import may_listen
from pyros.console.console import Console
from pyros.console.feed import Feed
from pyros.console.files import StaticFiles
from pyros.console.live import Live
from pyros.console.night import Night
from pyros.console.server import Root, make_site
from pyros.errors import ConfigError


def prepare_database(console: Console) -> None:
    """Make the database, or bring it up to date. Raises ConfigError naming the file."""
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", interactive=False, verbosity=0)
        connection.close()
    except DatabaseError as error:
        raise ConfigError([f"{console.database}: the console's database cannot be used: {error}"]) from None


def make_stack(console: Console, reactor: Any, pool: Any, order_pool: Any) -> tuple[Night, Live, Any]:
    """Return the source of frames, the live resource, and the factory of connections. Starts nothing."""
    night = Night(console.config, console.clock, console.holds)
    console.feed = Feed(night, reactor.callFromThread)
    application = get_wsgi_application()
    live = Live(reactor, pool, console.clock, console.feed, may_listen)
    storage: Any = staticfiles_storage
    root = Root(
        console,
        WSGIResource(reactor, pool, application),
        WSGIResource(reactor, order_pool, application),
        live=live,
        static=StaticFiles(storage),
    )
    return night, live, make_site(root)
