"""A PostgreSQL server of the tests' own, in a temporary folder, on a socket there; nobody else's is touched."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa


def _programs() -> Path | None:
    """Find the folder with initdb and postgres: Debian keeps it out of the PATH."""
    found = [Path(path).parent for path in (shutil.which("postgres"),) if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((each for each in found if (each / "initdb").exists() and (each / "postgres").exists()), None)


def _missing(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; tools/system-packages installs it")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Start a server and give its URL, up to the database's name."""
    programs = _programs()
    if programs is None:
        _missing("no PostgreSQL server here")
    assert programs is not None
    as_somebody: list[str | Path] = []
    folder = Path(tempfile.mkdtemp(prefix="pyros-postgresql-"))
    try:
        if os.getuid() == 0:  # as root it doesn't run
            if shutil.which("setpriv") is None:
                _missing("no setpriv here, and PostgreSQL doesn't run as root")
            shutil.chown(folder, "nobody")
            as_somebody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        made = subprocess.run(
            [*as_somebody, programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", "pyros", "-E", "UTF8",
             "--no-sync", "--locale=C"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        settings = [f"{key}={value}" for key, value in {
            "listen_addresses": "", "unix_socket_directories": folder, "fsync": "off", "shared_buffers": "16MB",
        }.items()]  # fmt: skip
        command = [*as_somebody, programs / "postgres", "-D", folder / "data", *(f"-c{each}" for each in settings)]
        with (
            (folder / "log").open("w") as log,
            subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as running,
        ):
            try:
                url = f"postgresql+psycopg://pyros@/{{}}?host={folder}"
                _wait_for(url.format("postgres"), running, folder / "log")
                yield url
            finally:
                running.send_signal(signal.SIGINT)  # without waiting for clients
                running.wait(90)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(url: str, running: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 90
    while True:
        engine = sa.create_engine(url)
        try:
            with engine.connect():
                return
        except sa.exc.OperationalError:
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        finally:
            engine.dispose()


_numbers = itertools.count(1)


def new_database(server: str) -> str:
    """Make an empty database and return its URL."""
    name = f"archive_{next(_numbers)}"
    engine = sa.create_engine(server.format("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.format(name)
