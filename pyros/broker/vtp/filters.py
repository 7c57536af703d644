"""XPath filters that subscribers send: taken when they cost little on every packet.

They are evaluated in a process of their own (`filtering`), so that even one whose cost was misjudged holds nobody up.
"""

from __future__ import annotations

from lxml import etree

from pyros.broker.packet import one_line
from pyros.broker.vtp.xpath import affordable

MAX_FILTERS = 16
MAX_LENGTH = 1024


class Filter:
    """A filter that was taken: called with an event's root element, it says whether the event passes."""

    def __init__(self, text: str, written: str) -> None:
        self.text = text
        """As the subscriber wrote it."""
        self.written = written
        """What is evaluated instead of it: the same, in a form that costs less."""
        self._xpath = etree.XPath(written, regexp=False)  # EXSLT's regular expressions can take for ever

    def __str__(self) -> str:
        return self.text

    def __call__(self, root: etree._Element) -> bool:
        try:
            return bool(self._xpath(root))
        except etree.XPathError:  # a prefix that nobody has declared ...
            return False


def compile_filter(text: str) -> Filter:
    """Return a filter ready to be called with an event's root; raises ValueError saying why it isn't taken."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"filter of {len(text)} characters; the limit is {MAX_LENGTH}")
    check_syntax(text)
    try:
        return Filter(text, affordable(text))
    except (ValueError, etree.XPathError) as error:
        raise ValueError(f"{one_line(error)}: {one_line(text)}") from None


def check_syntax(text: str) -> None:
    """Check that this is XPath, else raise ValueError; what it costs is the concern of the broker that is asked."""
    try:
        etree.XPath(text, regexp=False)
    except etree.XPathError as error:
        raise ValueError(f"not an XPath ({one_line(error)}): {one_line(text)}") from None


def matches(filters: list[Filter], root: etree._Element) -> bool:
    """Whether the event passes: there are no filters, or one says something true (one that fails doesn't)."""
    return not filters or any(filter_(root) for filter_ in filters)
