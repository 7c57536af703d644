"""XPath filters that subscribers send: compiled with limits, because they run in the broker's own thread.

A harmless-looking expression stops a broker: ``//*/following::*`` takes ten minutes on an event of 97 kB, and a search
of the whole event for each element costs the product of both. So a filter may go down the tree freely, but within a
predicate neither up nor back to the root, and never sideways. Looking for one half of a text in the other takes two
seconds, and as long again each time it is written: what a text is searched for must be written out, and be short where
texts lie inside one another. One that is slow nevertheless costs its subscriber the connection (see `broadcaster`).
"""

from __future__ import annotations

import re

from lxml import etree

from pyros.broker.packet import one_line

MAX_FILTERS = 16
MAX_LENGTH = 1024
MAX_SEARCHES = 2
MAX_COMPARED = 1
"""Comparisons of two paths: each element of one is held against each of the other."""
_MAX_SCAN = 4000
"""Letters that texts are searched for, each counted as often as texts of a packet can lie inside one another there."""
_NESTED = 26

_TOKEN = re.compile(
    r"""(?P<literal>"[^"]*"|'[^']*')"""
    r"""|(?P<sideways>\b(?:following|preceding)(?:-sibling)?\s*::)"""
    r"""|(?P<up>\.\.|\b(?:parent|ancestor|ancestor-or-self)\s*::)"""
    r"""|(?P<root>(?<![\w\-.*)\]])//?)"""  # nothing before it: the path begins at the root
    r"""|(?P<search>//|\b(?:descendant|descendant-or-self)\s*::)"""
    r"""|(?P<scan>\b(?:contains|substring-before|substring-after|translate)\s*\()"""
    r"""|(?P<open>[\[(])|(?P<close>[\])])|(?P<union>\|)"""
    r"""|(?P<new>(?P<compare>!=|[<>]=?|=)|[,+]|\s(?:or|and|div|mod)\b)"""
)
_SCAN = re.compile(r"[a-z]")  # an opening bracket that is a function's
_WRITTEN = re.compile(r"""\s*("[^"]*"|'[^']*')\s*[,)]""")
_SIMPLE_AFTER = re.compile(r"""\s*(?:["'\d.]\d*|-\s*\d|true\b|false\b|number\b|string\b)""")
_SIMPLE_BEFORE = re.compile(r"""(?:["']|(?<![\w\-.*@:])[\d.]+|(?<![\w\-.])@[\w\-.:]+)\s*\Z""")


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
    texts = _Texts(text)
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
        elif token["open"] or token["scan"]:
            opened.append((what, searches))
            predicates += what == "["
        elif token["close"] and opened:
            bracket, before = opened.pop()
            predicates -= bracket == "["
            searches = before if bracket == "[" else max(searches, before)
        elif token["new"] or token["union"]:
            around = opened[-1] if opened else ("", 0)
            if reason := texts.cost(token, *around):
                return reason
            searches = around[1]
    return ""


class _Texts:
    """What an expression costs where it looks for texts and compares paths."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._scanned = self._compared = 0

    def cost(self, token: re.Match[str], bracket: str, searches: int) -> str:
        """Why it is too much with this token, ``bracket`` being the one around it; '' if it isn't."""
        if token[0] == "," and _SCAN.match(bracket):
            written = _WRITTEN.match(self._text, token.end())
            if written is None:
                return f"{bracket}...) must look for a text in quotes"
            self._scanned += len(written[1]) * _NESTED**searches
        elif token["compare"] and not _SIMPLE_AFTER.match(self._text, token.end()):
            self._compared += not _SIMPLE_BEFORE.search(self._text, 0, token.start())
        if self._scanned > _MAX_SCAN:
            return "texts inside one another are searched for too long a text"
        return f"more than {MAX_COMPARED} comparison of two paths" if self._compared > MAX_COMPARED else ""
