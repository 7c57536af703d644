"""The observatory's key: made once whoever starts first, for its owner's eyes only, and proved by what it signs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyros import keys
from pyros.errors import ConfigError

MAKE = "import sys, pathlib; from pyros.keys import make_key; print(make_key(pathlib.Path(sys.argv[1])).hex())"


def test_the_first_to_ask_makes_a_key_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / keys.FILE
    key = keys.make_key(path)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == key.hex() + "\n"
    assert keys.make_key(path) == keys.read_key(path) == keys.find_key(path) == key
    assert keys.make_key(tmp_path / "another") != key
    assert [file.name for file in path.parent.iterdir()] == [keys.FILE], "nothing else is left"


def test_processes_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    path = tmp_path / "data" / keys.FILE
    started = [
        subprocess.Popen([sys.executable, "-c", MAKE, path], stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    made = {process.communicate()[0] for process in started}
    assert made == {path.read_text()}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / keys.FILE
    keys.make_key(path)
    path.chmod(mode)
    for use in (keys.make_key, keys.read_key, keys.find_key):
        with pytest.raises(ConfigError, match=rf"others may read.*mode {mode:04o}.*chmod 600"):
            use(path)


@pytest.mark.parametrize("content", [b"", b"secret", b"0" * 63, b"0" * 65, b"G" * 64, b"\xff" * 64, b"0" * 5000])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / keys.FILE
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="holds no key"):
        keys.make_key(path)


def test_a_key_that_is_not_there_or_not_ours_is_none(tmp_path: Path) -> None:
    assert keys.find_key(tmp_path / keys.FILE) is None
    with pytest.raises(ConfigError, match=r"no such file; copy observatory\.key there"):
        keys.read_key(tmp_path / keys.FILE)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        keys.read_key(tmp_path)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match=r"observatory\.key: the observatory's key cannot be made: Permission denied"):
        keys.make_key(tmp_path / keys.FILE)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ConfigError, match="cannot be made"):
        keys.make_key(tmp_path / "data" / keys.FILE)


def test_a_signature_fits_its_key_and_its_words_only() -> None:
    signed = keys.sign(b"key", "a", "bc", 1.0)
    assert keys.is_signed(signed, b"key", "a", "bc", 1.0)
    for key, words in ((b"kez", ("a", "bc", 1.0)), (b"key", ("ab", "c", 1.0)), (b"key", ("a", "bc", 1.5))):
        assert not keys.is_signed(signed, key, *words)
    for other in ("", signed[:-1], signed.upper(), "é" * 64):
        assert not keys.is_signed(other, b"key", "a", "bc", 1.0)
