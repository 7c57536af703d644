"""The Debian package: built, installed by dpkg below a folder, and used where its files say that they are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def shell(*command: str | Path, **environment: str) -> str:
    """Return what a command prints; its failure is the test's."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYROS", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(word) for word in command], env=clean | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.long
@pytest.mark.skipif(not (shutil.which("dpkg-deb") and Path("/opt").is_dir()), reason="this is no Debian")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may install a package, and mount its folder where it belongs")
def test_a_package_is_built_and_installed(tmp_path: Path) -> None:
    package = shell(ROOT / "tools/debian-package", tmp_path, EXTRAS="").split()[-1]
    assert "python3 (>= 3." in shell("dpkg-deb", "--field", package, "Depends")
    place = tmp_path / "place"
    for folder in ("info", "updates", "triggers"):
        (place / "var/lib/dpkg" / folder).mkdir(parents=True)
    (place / "var/lib/dpkg/status").touch()
    shell("dpkg", f"--root={place}", "--force-depends", "--install", package)
    assert (place / "usr/bin/pyros").resolve() == place / "opt/pyros/bin/pyros"
    there = f"mount --bind {place}/opt /opt && cd {tmp_path} && "
    assert shell("unshare", "--mount", "sh", "-c", f"{there} /opt/pyros/bin/pyros --version").startswith("pyros ")
    shell("unshare", "--mount", "sh", "-c", f"{there} /opt/pyros/bin/pyros init own --yes --simulators")
    assert (
        'ExecStart="/opt/pyros/bin/python3" "/opt/pyros/bin/twistd"'
        in (tmp_path / "own/systemd/pyros.service").read_text()
    )
    shell("dpkg", f"--root={place}", "--purge", "pyros-observatory")
    assert not (place / "opt/pyros").exists()
