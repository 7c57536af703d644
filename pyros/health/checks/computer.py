"""The computer: disk, clock, certificates, who may read the key, and the backups."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pyros import backup, certificates
from pyros.certificates import Certificate
from pyros.clock import system_time
from pyros.files import free_gigabytes
from pyros.health.check import HealthCheck, warning
from pyros.sender.certificates import names
from pyros.time_server import clock_offset

_LEAST_INODES = 10_000
_LAST_NIGHTS = 7
_FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""No clock that is right is before this version was written."""
_BACKUP_DAYS = 2.0
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


class DiskCheck(HealthCheck):
    """The disk of the data folder."""

    group = "disk"
    tags = ("disk",)

    def setUp(self) -> None:
        if not self.observatory.config.data.exists():
            self.skipTest("nothing has run here yet")

    def test_dome(self) -> None:
        """So much is free that the dome may be open."""
        self.assert_free(self.observatory.config.data, self.observatory.config.limits.disk_dome)

    @warning
    def test_images(self) -> None:
        """So much is free that the camera exposes."""
        config = self.observatory.config
        self.assert_free(config.images if config.images.exists() else config.data, config.limits.disk_images)

    @warning
    def test_nights(self) -> None:
        """There is room for two nights like the fullest of the last week's."""
        nights = sorted(self.observatory.config.images.glob("????-??-??"))[-_LAST_NIGHTS:]
        sizes = [sum(file.stat().st_size for file in night.iterdir()) / 1e9 for night in nights]
        free, fullest = free_gigabytes(self.observatory.config.images), max(sizes, default=0.0)
        if free < 2 * fullest:
            self.fail(f"{free:.1f} GB are free, and a night of the last week has {fullest:.1f} GB of images")

    def test_files(self) -> None:
        """New files can be made: the disk has inodes, and isn't read-only."""
        data = self.observatory.config.data
        disk = os.statvfs(data)
        if disk.f_flag & os.ST_RDONLY:
            self.fail(f"{data}: the disk is mounted read-only")
        if disk.f_files and disk.f_favail < _LEAST_INODES:
            self.fail(f"{data}: the disk has room for {disk.f_favail} files more")


class ClockCheck(HealthCheck):
    """The computer's clock. An hour angle is wrong by 15 arcseconds for each second."""

    group = "clock"
    tags = ("clock",)

    def test_sane(self) -> None:
        """It isn't before this version of PYROS was written."""
        if system_time() < _FIRST_DAY:
            self.fail(f"the clock says {datetime.fromtimestamp(system_time(), UTC):%Y-%m-%d %H:%M}: it is not set")

    @warning
    def test_synchronised(self) -> None:
        """A time server disciplines it (NTP)."""
        if self.observatory.config.simulated:
            self.skipTest("nothing of it is real")
        synchronised = clock_synchronised()
        if synchronised is None:
            self.skipTest("the kernel does not tell")
        if not synchronised:
            self.fail("no time server disciplines the clock: start chrony, ntpd or systemd-timesyncd")

    @warning
    def test_offset(self) -> None:
        """It is right, as the program says that disciplines it."""
        config = self.observatory.config
        if config.simulated:
            self.skipTest("nothing of it is real")
        found = clock_offset()
        if found.seconds is None:
            self.skipTest(found.source)
        if abs(found.seconds) > config.limits.clock_step:
            self.fail(f"the clock is {found.seconds:+.3f} s off, says {found.source}; look why it isn't set")

    def test_real(self) -> None:
        """The observatory's clock isn't shifted while its devices are real."""
        config = self.observatory.config
        if config.clock != "real" and not config.simulators:
            self.fail(f"{config.path}: [observatory] clock = {config.clock}, with real devices; a real night has: real")


class _Timex(ctypes.Structure):
    """``struct timex`` (adjtimex(2)), as far as its field ``status``."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_byte * 256),
    )  # fmt: skip


def clock_synchronised() -> bool | None:
    """Return whether the kernel says that the clock is synchronised; None where it says nothing."""
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    told = _Timex()
    state = adjtimex(ctypes.byref(told))
    return None if state < 0 else state != _TIME_ERROR and not told.status & _STA_UNSYNC


class CertificatesCheck(HealthCheck):
    """The certificates that the configuration names."""

    group = "certificates"
    tags = ("certificates",)

    def test_valid(self) -> None:
        """None has ended."""
        now = datetime.fromtimestamp(system_time(), UTC)
        if ended := list(certificates.ended(self._certificates(), now)):
            self.fail("; ".join(ended))

    @warning
    def test_soon(self) -> None:
        """None ends within a month."""
        now = datetime.fromtimestamp(system_time(), UTC)
        soon = [each.warning(now) for each in self._certificates() if each.ends > now and each.warning(now)]
        if soon:
            self.fail("; ".join(soon))

    def _certificates(self) -> list[Certificate]:
        named = list(self._named())
        if not named:
            self.skipTest("none is named")
        found = []
        for where, path, first in named:
            try:
                found += certificates.read(f"{self.observatory.config.path}: {where}: {path}", path, first=first)
            except ValueError as error:
                self.fail(str(error))
        return found

    def _named(self) -> Iterator[tuple[str, Path, bool]]:
        """Yield section and key, file, and whether only its first certificate is ours."""
        config = self.observatory.config
        tls = config.broker.tls if config.broker is not None else None
        if tls is not None:
            yield "[broker tls] certificate", tls.certificate, True
            if tls.client_ca is not None:
                yield "[broker tls] client_ca", tls.client_ca, False
        for remote in config.broker.remotes if config.broker is not None else ():
            for key, path in (("certificate", remote.certificate), ("ca", remote.ca)):
                if path is not None:
                    yield f"[{remote.section}] {key}", path, key == "certificate"
        if config.console is not None and config.console.certificate is not None:
            yield "[console] certificate", config.console.certificate, True
        if config.certificates is not None:
            for name in names(config):
                if (path := config.certificates / f"{name}.pem").exists():
                    yield "[observatory] tls", path, True


class SecretsCheck(HealthCheck):
    """Files that hold secrets."""

    group = "secrets"
    tags = ("security",)

    def test_key(self) -> None:
        """Nobody but its owner and the observatory's group may read the key; others may not."""
        path = self.observatory.config.key_file
        if not path.exists():
            self.skipTest("there is no key yet")
        mode = path.stat().st_mode
        if mode & (_OTHERS & ~stat.S_IRGRP if self.observatory.config.group else _OTHERS):
            self.fail(f"{path}: others may use it (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}")


class BackupCheck(HealthCheck):
    """The backups of journals, configuration and key, where any are made."""

    group = "backup"
    level = "warning"
    tags = ("disk",)

    def test_recent(self) -> None:
        """The newest is younger than two days."""
        config = self.observatory.config
        folder = config.data / backup.FOLDER
        made = any(job.task == "pyros.backup.nightly" for job in config.jobs)
        found = backup.backups(folder) if folder.is_dir() else []
        if not found and not made:
            self.skipTest("none are made")
        if not found:
            self.fail(f"{folder}: there is no backup yet")
        manifest = found[-1] / backup.MANIFEST
        self.assert_fresh(manifest, _BACKUP_DAYS * 86400, f"the newest backup ({found[-1]})")
