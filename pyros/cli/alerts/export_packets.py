"""``pyros alerts export``: packets out of the archive, into a folder or a tar file."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pyros.alerts.archive.query import ArchivedPacket
from pyros.cli.alerts.options import (
    ArchiveOption,
    ConeOption,
    KindOption,
    RoleOption,
    SinceOption,
    StreamOption,
    UntilOption,
    query,
    reading,
)
from pyros.cli.common import ConfigOption, JsonOption, out, writing
from pyros.errors import PyrosError

_MODES = {".tar": "w:", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}
Write = Callable[[str, bytes, float], None]


def export(
    to: Annotated[
        Path, typer.Argument(metavar="TO", help="A new folder, or a new .tar, .tar.gz, .tar.bz2 or .tar.xz file.")
    ],
    event: Annotated[str, typer.Option("--event", metavar="NAME", help="Only this event.")] = "",
    words: Annotated[str, typer.Option("--words", metavar="TEXT", help="Only packets with these words.")] = "",
    cone: ConeOption = None, stream: StreamOption = None, role: RoleOption = None, kind: KindOption = None,
    since: SinceOption = None, until: UntilOption = None, archive: ArchiveOption = None, as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:  # fmt: skip
    """Write packets of the archive, each as it came, into a folder or a tar file.

    Examples:
      pyros alerts export march.tar.xz --since 2026-03-01 --until 2026-04-01
      pyros alerts export GRB --event swift:1017711
    """
    if to.exists():
        raise PyrosError(f"{to}: is there already; name a new one")
    count = 0
    wanted = query(stream, role, kind, since, until, event=event, words=words, cone=cone)
    with closing(reading(archive, config)) as reader, writing(to), writing_to(to) as write:
        for entry in reader.find(wanted):
            packet = reader.packet(entry.number)
            write(_name(entry, packet), packet, entry.received)
            count += 1
    if as_json:
        out.print(json.dumps({"to": str(to), "packets": count}))
    else:
        out.print(f"{count} packet{'' if count == 1 else 's'} in {to}")


@contextmanager
def writing_to(to: Path) -> Iterator[Write]:
    """Give what writes a packet into ``to``, which has another name until all packets are there."""
    partial = to.with_name(f".{to.name}.part")
    mode = _MODES.get(to.suffix.lower())
    if mode is None:
        partial.mkdir(parents=True)
        yield lambda name, packet, _: _write_file(partial / name, packet)
    else:
        with tarfile.open(partial, mode) as tar:  # type: ignore[call-overload]
            yield lambda name, packet, received: _write_member(tar, name, packet, received)
    partial.rename(to)


def _write_file(path: Path, packet: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packet)


def _write_member(tar: tarfile.TarFile, name: str, packet: bytes, received: float) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime = len(packet), int(received)
    tar.addfile(member, io.BytesIO(packet))
    tar.members.clear()  # type: ignore[attr-defined]  # it would remember every member


def _name(entry: ArchivedPacket, packet: bytes) -> str:
    """Day, what identifies it, and its number; nothing in it leaves the folder."""
    words = re.sub(r"[^A-Za-z0-9.+-]+", "_", entry.identity.removeprefix("ivo://")).strip("._")[:120]
    kind = "json" if packet.lstrip()[:1] == b"{" else "xml" if entry.alert is not None else "packet"
    return f"{datetime.fromtimestamp(entry.received, UTC):%Y-%m-%d}/{words}-{entry.number}.{kind}"
