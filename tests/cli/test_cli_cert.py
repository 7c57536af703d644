"""``pyros cert`` and what ``pyros check`` says of certificates."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pyros.authority import make_certificate
from pyros.config import load
from pyros.sender.certificates import unreachable
from tests.cli.conftest import fails, run


def configure(file: Path, **keys: str) -> None:
    """Add keys to [observatory]."""
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
    file.write_text(file.read_text().replace("[observatory]\n", f"[observatory]\n{lines}", 1))


def test_an_authority_and_certificates_are_made(observatory: Path) -> None:
    configure(observatory, tls="tls")
    result = run("cert", "--ca", "--all", "--config", observatory)
    assert result.exit_code == 0, result.stderr
    folder = observatory.parent / "tls"
    for name in ("ca.key", "telescope.pem", "program.pem"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert b"PRIVATE" not in (folder / "ca.pem").read_bytes()
    assert "certificate" not in run("check", "--config", observatory).stderr
    before = (folder / "telescope.pem").read_bytes()
    assert run("cert", "--all", "--config", observatory).exit_code == 0
    assert (folder / "telescope.pem").read_bytes() == before
    fails(["cert", "telescope", "--config", observatory], "telescope.pem holds until")
    assert run("cert", "telescope", "--again", "--config", observatory).exit_code == 0
    assert (folder / "telescope.pem").read_bytes() != before
    fails(["cert", "--ca", "--config", observatory], "is there already")


def test_mistakes_are_told(observatory: Path) -> None:
    fails(["cert", "--ca", "--config", observatory], "[observatory] tls: missing")
    configure(observatory, tls="tls")
    fails(["cert", "--config", observatory], "name agents")
    fails(["cert", "telescop", "--config", observatory], "nothing is called 'telescop'")
    fails(["cert", "telescope", "--config", observatory], "pyros cert --ca makes an authority")


def test_check_tells_what_misses_and_what_ends(observatory: Path) -> None:
    configure(observatory, tls="tls")
    assert "ca.pem: no such file; pyros cert --ca makes an authority" in run("check", "--config", observatory).stderr
    run("cert", "--ca", "--all", "--config", observatory)
    folder, now = observatory.parent / "tls", datetime.now(UTC)
    (folder / "camera.pem").unlink()
    make_certificate(folder, "dome", now - timedelta(days=3 * 365 - 10))
    result = run("check", "--config", observatory)
    assert result.exit_code == 0, result.stderr
    told = " ".join((result.stdout + result.stderr).split())
    assert "camera.pem: no such file; if camera runs here" in told
    assert "the certificate of CN=dome ends on" in told
    make_certificate(folder, "dome", now - timedelta(days=4 * 365))
    result = run("check", "--config", observatory)
    assert result.exit_code != 0
    assert "the certificate of CN=dome has ended on" in " ".join(result.stderr.split())


def test_check_wants_tls_between_computers_or_a_dangerous_word(observatory: Path) -> None:
    text = observatory.read_text()
    observatory.write_text(text.replace("[telescope]\n", "[telescope]\nat = scope.example.org\n", 1))
    told = " ".join(run("check", "--config", observatory).stderr.split())
    assert "[telescope] at: scope.example.org:" in told
    assert "that needs TLS: [observatory] tls = FOLDER" in told
    configure(observatory, tls="DANGEROUSLY_OFF")
    result = run("check", "--config", observatory)
    assert result.exit_code == 0, result.stderr
    assert "DANGEROUSLY_OFF: who is on the network" in " ".join((result.stdout + result.stderr).split())
    observatory.write_text(observatory.read_text().replace("DANGEROUSLY_OFF", "off"))
    fails(["check", "--config", observatory], "neither a folder of certificates nor DANGEROUSLY_OFF")


def test_check_tells_what_keeps_other_computers_out(tmp_path: Path) -> None:
    path = tmp_path / "pyros_agent_config.ini"
    path.write_text(
        "[observatory]\nname = test\ntls = DANGEROUSLY_OFF\n[notifier]\nport = 5001\nat = north.example.org\n"
        "[scheduler]\nlisten = 0.0.0.0:5002\nat = north.example.org\n[majordome]\nport = 5003\n"
    )
    alone, nobody = unreachable(load(path))
    assert "[notifier] listen: 127.0.0.1:5001 is for this computer alone, and others look for it at" in alone
    assert "[scheduler] allow: lets this computer in alone, though it listens on 0.0.0.0:5002" in nobody
