"""XPath filters that subscribers send: compiled with limits, because they run in the broker's own thread.

A harmless-looking expression stops a broker: ``//*/following::*`` takes ten minutes on an event of 97 kB, and a search
of the whole event for each element costs the product of both. So a filter may go down the tree freely, but within a
predicate neither up nor back to the root, and never sideways. One that is slow nevertheless costs its subscriber the
connection (see `broadcaster`).
"""

from __future__ import annotations

import re

from lxml import etree

from pyros.broker.packet import one_line

MAX_FILTERS = 16
MAX_LENGTH = 1024
MAX_SEARCHES = 2

_TOKEN = re.compile(
    r"""(?P<literal>"[^"]*"|'[^']*')"""
    r"""|(?P<sideways>\b(?:following|preceding)(?:-sibling)?\s*::)"""
    r"""|(?P<up>\.\.|\b(?:parent|ancestor|ancestor-or-self)\s*::)"""
    r"""|(?P<root>(?<![\w\-.*)\]])//?)"""  # nothing before it: the path begins at the root
    r"""|(?P<search>//|\b(?:descendant|descendant-or-self)\s*::)"""
    r"""|(?P<open>[\[(])|(?P<close>[\])])|(?P<union>\|)|(?P<new>[=<>,+]|\s(?:or|and|div|mod)\b)"""
)


def compile_filter(text: str) -> etree.XPath:
    """A filter ready to be called with an event's root; raises ValueError saying why it isn't taken."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"filter of {len(text)} characters; the limit is {MAX_LENGTH}")
    reason = _too_costly(text)
    if reason:
        raise ValueError(f"{reason}: {one_line(text)}")
    try:
        # Without EXSLT's regular expressions: those can take for ever on a hundred characters.
        return etree.XPath(text, regexp=False)
    except etree.XPathError as error:
        raise ValueError(f"not an XPath ({one_line(error)}): {one_line(text)}") from None


def check_syntax(text: str) -> None:
    """Raises ValueError when this is no XPath; what it costs is the concern of the broker that is asked."""
    try:
        etree.XPath(text, regexp=False)
    except etree.XPathError as error:
        raise ValueError(f"not an XPath ({one_line(error)}): {one_line(text)}") from None


def matches(filters: list[etree.XPath], root: etree._Element) -> bool:
    """Whether the event passes: there are no filters, or one says something true (one that fails doesn't)."""
    return not filters or any(_true(filter_, root) for filter_ in filters)


def _true(filter_: etree.XPath, root: etree._Element) -> bool:
    try:
        return bool(filter_(root))
    except etree.XPathError:  # an unknown function, a variable ...
        return False


def _too_costly(text: str) -> str:
    """Why an expression could take long; '' if it can't."""
    opened: list[tuple[str, int]] = []  # the brackets around, each with the searches before it
    searches = predicates = 0
    for token in _TOKEN.finditer(text):
        what = token[0]
        if token["sideways"]:
            return f"the axis {what} is not allowed"
        if predicates and (token["up"] or token["root"] or token["union"]):
            return f"{what!r} is not allowed in a predicate"
        if token["search"] or token["up"] or what == "//":
            searches += 1
            if searches > MAX_SEARCHES:
                return f"more than {MAX_SEARCHES} searches after or inside one another"
        elif token["open"]:
            opened.append((what, searches))
            predicates += what == "["
        elif token["close"] and opened:
            bracket, before = opened.pop()
            predicates -= bracket == "["
            searches = max(searches, before) if bracket == "(" else before
        elif token["new"] or token["union"]:
            searches = opened[-1][1] if opened else 0
    return ""
