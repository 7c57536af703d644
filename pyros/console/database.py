"""The console's database: made, brought up to date, and filled with what the configuration's fixture has."""

from __future__ import annotations

import os

from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import DatabaseError

from pyros.console.console import Console
from pyros.console.fixtures import load
from pyros.errors import ConfigError


def prepare(console: Console) -> None:
    """Make the database, or bring it up to date; a new one begins with the fixture.

    Raises PyrosError naming the file.
    """
    before = os.umask(0o077)
    try:
        fresh = not console.database.exists()
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", interactive=False, verbosity=0)
        if fresh and console.section.fixture is not None:
            load(console.section.fixture)
        connection.close()
    except DatabaseError as error:
        raise ConfigError([f"{console.database}: the console's database cannot be used: {error}"]) from None
    finally:
        os.umask(before)
