"""The sections ``[console]`` and ``[console cache]``."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from pyros.config._section import Section
from pyros.config._values import LOOK_UP, ConsoleConfig
from pyros.config._words import ip_word, port_number, yes
from pyros.quantities import DURATIONS, quantity

_SECTION = re.compile(r"[a-z][a-z_]{0,31}")
_PAGE = re.compile(r"[a-z][a-z ]{0,31}")
_lifetime = quantity(DURATIONS, 0.001, 1e6)


def read_console(
    section: Section | None,
    cache: Section | None,
    data: Path,
    existing: Callable[[str], Path],
    problems: list[str],
) -> ConsoleConfig | None:
    """Return what the sections say; None where there is no ``[console]``.

    ``data`` is the observatory's folder; ``existing`` makes a path of a file there is.

    Appends every mistake to ``problems``.
    """
    if section is None:
        if cache is not None:
            problems.append(f"{cache.file}: [console cache]: needs a [console] section")
        return None
    files = {key: section.optional(key, existing) for key in ("certificate", "key")}
    kept = cache.take("in", _place, "memory") if cache else "memory"
    config = ConsoleConfig(
        port=section.take("port", port_number),
        folder=section.take("folder", lambda text: _folder(section, text), data / "console"),
        ip=section.take("ip", ip_word, "127.0.0.1"),
        hosts=section.take("hosts", _hosts, ()),
        behind_proxy=section.take("behind_proxy", yes, False),
        hide=section.take("hide", _sections, ()),
        fixture=section.optional("fixture", existing),
        run=section.take("run", yes, True),
        look_up=section.take("look_up", _services, LOOK_UP),
        tns=section.optional("tns", existing),
        cache=str(_folder(cache, kept)) if cache and kept not in ("none", "memory") else kept,
        lifetimes={key: cache.take(key, _lifetime, 0.0) for key in list(cache.values)} if cache else {},
        **files,
    )
    section.need_each_other("certificate", "key")
    if config.ip and not ip_address(config.ip).is_loopback and not (config.certificate or config.behind_proxy):
        section.problem("ip", f"{config.ip!r} is reached from other computers: give certificate and key,"
                              " or behind_proxy = yes where a web server before it speaks TLS")  # fmt: skip
    section.rest()
    for key in config.lifetimes:
        if cache is not None and not _PAGE.fullmatch(key):
            cache.problem(key, "is no page of the console")
    return config


def _folder(section: Section, text: str) -> Path:
    """Return the path of a folder relative to the file."""
    return (section.file.parent / Path(text).expanduser()).absolute()


def _place(text: str) -> str:
    if not text.strip():
        raise ValueError("is not one of: none, memory, or a folder")
    return text


def _services(text: str) -> tuple[str, ...]:
    words = tuple(text.split())
    if words == ("none",):
        return ()
    for word in words:
        if word not in LOOK_UP:
            raise ValueError(f"has {word!r}, which is none of {', '.join(LOOK_UP)}; or it is none")
    return words


def _hosts(text: str) -> tuple[str, ...]:
    for word in text.split():
        if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]", word):
            raise ValueError(f"has {word!r}, which is no host's name, like console.my-observatory.org")
    return tuple(word.lower() for word in text.split())


def _sections(text: str) -> tuple[str, ...]:
    for word in text.split():
        if not _SECTION.fullmatch(word):
            raise ValueError(f"has {word!r}, which is no section of the console, like users")
    return tuple(text.split())
