"""The Params of a VOEvent's What, of which somebody asks for a few.

What has most of a VOEvent's elements, and nearly every author writes it in the same plain way: Params whose attributes
have no entities, some in Groups, some with a Description. `read_plain` reads that by one regular expression, so that no
tree is made of what nobody asks for; anything else is read from the tree by `read_params`, with the same result
(decision 0122).
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from pyros.alerts.formats import measurements, streams
from pyros.alerts.formats.xml import child, text
from pyros.errors import AlertError

PACKET_TYPE = "Packet_Type"
ALERT_TYPES = ("*/AlertType", "*/Alert_Type", "*/event_type")
COORDS_NAMES = ("Coords_String", "Coords_Type")
_OWN_NAMES = (PACKET_TYPE, *ALERT_TYPES, *COORDS_NAMES, *measurements.ASKED_PARAMS)
_ASKED = streams.PARAM_NAMES | streams.bare_names(_OWN_NAMES)
"""The names that somebody asks for, lower case."""
_MAX_PARAMS = 10_000
_MAX_DEPTH = 8
"""Groups in groups that are read as plain."""


class Param(msgspec.Struct, frozen=True, gc=False):
    """One Param of What."""

    group: str
    name: str
    value: str
    unit: str


class PlainWhat(msgspec.Struct, frozen=True):
    """A VOEvent without the content of its What."""

    rest: bytes
    """The packet with ``<What/>`` in its place."""
    params: tuple[Param, ...]
    """The Params that are asked for."""


def read_params(what: Any | None) -> tuple[Param, ...]:
    """Read the Params that somebody asks for: of forty in a packet they are ten, or none.

    Raises AlertError for too many of them.
    """
    params: list[Param] = []
    count = 0
    for element in what.iterchildren("{*}Param", "{*}Group") if what is not None else ():
        group, members = "", (element,)
        if element.tag.endswith("Group"):
            group = (element.get("name") or element.get("type") or "").strip()
            members = element.iter("{*}Param")  # groups in groups occur
        for member in members:
            count += 1
            name = member.get("name", "").strip()
            if name.lower() in _ASKED or group in streams.CLASS_GROUPS:
                params.append(_param(group, name, member))
        if count > _MAX_PARAMS:
            raise AlertError(f"the VOEvent has over {_MAX_PARAMS} Params")
    return tuple(params)


def _param(group: str, name: str, element: Any) -> Param:
    value = element.get("value")
    if value is None:  # VOEvent 2.0 allows <Value> as well as the attribute
        value = text(child(element, "Value"))
    return Param(group, name, value.strip(), element.get("unit", ""))


_SPACE = "[ \\t\\r\\n]"
_VALUE = "[ !#-%'-;=-~]*+"
"""Of an attribute: printable ASCII without quotation marks, and what may begin an entity or an element."""
_TEXT = "[\\t\\r\\n -%'-;=?-~]*+"
"""Of an element, without what may end a CDATA section."""


def _attribute(name: str, group: str) -> str:
    """Return the expression for an attribute that may be missing; ``group`` has its value."""
    return f'(?:{_SPACE}++{name}="(?P<{group}>{_VALUE})")?+'


def _unread(name: str, group: str = "") -> str:
    """Return the expression for an attribute that may be missing, and whose value nobody asks for."""
    return f'(?:{_SPACE}++{name}={f"(?P<{group}>)" if group else ""}"{_VALUE}")?+'


def _unless(group: str, expression: str) -> str:
    """Return the expression for what may stand where a group has not matched: no attribute may come twice."""
    return f"(?({group})|{expression})"


_ATTRIBUTES = "".join(
    (
        _unread("dataType", "type1"),
        f'{_SPACE}++name="(?P<name>{_VALUE})"',
        _unless("type1", _unread("dataType", "type2")),
        _unread("ucd", "ucd1"),
        _attribute("unit", "unit1"),
        _attribute("value", "value"),
        _unless("unit1", _attribute("unit", "unit2")),
        _unless("ucd1", _unread("ucd")),
        _unless("unit1", _unless("unit2", _attribute("unit", "unit3"))),
        _unless("type1", _unless("type2", _unread("dataType"))),
    )
)
"""Those of a Param in the orders in which authors write them."""
_DESCRIPTION = f"<Description>{_TEXT}</Description>"
_PART = re.compile(
    f"{_SPACE}*+(?:<Param{_ATTRIBUTES}{_SPACE}*+(?:/>|>(?:{_SPACE}*+{_DESCRIPTION})?+{_SPACE}*+</Param>)"
    f"|<(?P<open>Group){_attribute('name', 'group_name')}{_attribute('type', 'group_type')}{_SPACE}*+>"
    f"|</(?P<close>Group)>|{_DESCRIPTION})"
)
_WIDTH = _PART.groups + 1
_AT = _PART.groupindex
_NAME, _OPEN, _CLOSE = (_AT[name] for name in ("name", "open", "close"))
_BEGIN, _END = b"<What>", b"</What>"


def read_plain(packet: bytes) -> PlainWhat | None:
    """Read the Params of a VOEvent whose What is written plainly; None for every other one.

    What is taken out is a whole, well-formed element, and there is no comment, CDATA section or processing instruction
    in which it could be none: so the rest is well-formed where the packet is, and only there. Who reads the rest must
    see whether ``<What/>`` stands where What belongs.
    """
    begin = packet.find(_BEGIN)
    end = packet.find(_END, begin)
    if begin < 0 or end < 0 or packet.find(b"<What", end) >= 0 or packet.find(b"<What", 0, begin) >= 0:
        return None
    if (b"!" in packet and b"<!" in packet) or (packet.count(b"?") > 2 and packet.find(b"<?", 4) >= 0):
        return None
    try:
        content = packet[begin + len(_BEGIN) : end].decode("ascii").rstrip(" \t\r\n")
    except UnicodeDecodeError:
        return None
    parts = _PART.split(content)
    if len(parts) > _MAX_PARAMS * _WIDTH or any(parts[::_WIDTH]):
        return None
    if (params := _asked(parts)) is None:
        return None
    return PlainWhat(b"".join((packet[:begin], b"<What/>", packet[end + len(_END) :])), params)


def _asked(parts: list[str | None]) -> tuple[Param, ...] | None:
    """Return the Params that are asked for; None where Groups don't end as they begin."""
    found: list[Param] = []
    names, opened, closed = parts[_NAME::_WIDTH], parts[_OPEN::_WIDTH], parts[_CLOSE::_WIDTH]
    if not any(opened) and not any(closed) and _are_unasked(names):
        return ()
    depth, group = 0, ""
    for at, written in enumerate(names):
        if written is not None:
            name = written.strip()
            if name.lower() in _ASKED or group in streams.CLASS_GROUPS:
                found.append(_plain_param(group, name, parts[at * _WIDTH : (at + 1) * _WIDTH]))
        elif opened[at]:
            if depth == 0:
                row = at * _WIDTH
                group = (parts[row + _AT["group_name"]] or parts[row + _AT["group_type"]] or "").strip()
            depth += 1
            if depth > _MAX_DEPTH:
                return None
        elif closed[at]:
            depth -= 1
            if depth < 0:
                return None
            if depth == 0:
                group = ""
    return tuple(found) if depth == 0 else None


def _are_unasked(names: list[str | None]) -> bool:
    """Tell at once that nobody asks for any of these names; False where that has to be looked at one by one."""
    together = "\n".join(filter(None, names)).lower()
    padded = together.startswith(" ") or together.endswith(" ") or " \n" in together or "\n " in together
    return not padded and "" not in names and _ASKED.isdisjoint(together.split("\n"))


def _plain_param(group: str, name: str, row: list[str | None]) -> Param:
    unit = row[_AT["unit1"]] or row[_AT["unit2"]] or row[_AT["unit3"]] or ""
    return Param(group, name, (row[_AT["value"]] or "").strip(), unit)
