"""What an XPath 1.0 expression can cost at most on a packet, known before it is evaluated.

A harmless-looking expression stops a program for minutes: ``//*//*`` takes nine seconds on 97 kB, ``//a != //a`` one
and a half, three hundred dots in a ``concat`` longer than anybody waits. So an expression is taken only when its parser
here understands it and the sum of its bounds is small. The bounds follow from the largest packet: how many elements of
a name fit into it, how deep they nest, and how often a text can lie inside another one. The times of the single steps
were measured with libxml2 2.14 on packets made to be slow, and are rounded up.

libxml2 compares each node with each when it unites node sets, so two forms are written anew with the same meaning:
``A | B`` as ``A or B`` where only its truth is asked for, and ``A//B`` as ``A[.//B]``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_SECONDS = 0.2
"""The bound of an expression on the largest packet."""
MAX_BRACKETS = 24
"""Brackets inside one another."""

_BYTES = 100_000  # of a packet, rounded up
_DEPTH = 32  # elements inside one another
_NODES = _BYTES * 2 // 5  # an element of four bytes, then a text of one
_VISIT = 1.8e-8  # seconds: a node that an axis passes
_STEP = 3.5e-8  # an operation: a comparison, a call, a literal, a step of a path
_LETTER = 2e-9  # a character that is copied or counted
_TRANSLATED = 1.5e-8  # a character that is looked up and written by itself
_SEARCHED = 1e-9  # a character that is compared with one that is looked for
_SEARCHED_ALONE = 5e-9  # the same where translate() does it
_UNITED = 1e-9  # a node that is compared with one of its set
_LESS, _EQUAL = 2e-9, 4e-9  # a pair of two sets, by < and by =

_TOKEN = re.compile(
    r"""\s*(?:(?P<literal>"[^"]*"|'[^']*')|(?P<number>\d+(?:\.\d*)?|\.\d+)"""
    r"""|(?P<symbol>\.\.|::|//|!=|<=|>=|[()\[\].@,/|+\-=<>*$])"""
    r"""|(?P<name>[^\W\d][\w.\-]*(?::(?!:)(?:[^\W\d][\w.\-]*|\*))?))"""
)
_OPERATORS = ("or", "and", "= !=", "< <= > >=", "+ -", "* div mod")
_AXES = ("child", "attribute", "self", "descendant", "descendant-or-self", "parent")
_NODE_TYPES = ("node", "text")
_NOT_THERE = ("comment", "processing-instruction")
_FUNCTIONS = {  # name: how many arguments, at least and at most; what comes out
    "boolean": (1, 1, "truth"), "not": (1, 1, "truth"), "true": (0, 0, "truth"), "false": (0, 0, "truth"),
    "contains": (2, 2, "truth"), "starts-with": (2, 2, "truth"), "lang": (1, 1, "truth"),
    "count": (1, 1, "number"), "sum": (1, 1, "number"), "number": (0, 1, "number"), "position": (0, 0, "number"),
    "last": (0, 0, "number"), "string-length": (0, 1, "number"), "floor": (1, 1, "number"),
    "ceiling": (1, 1, "number"), "round": (1, 1, "number"),
    "string": (0, 1, "text"), "normalize-space": (0, 1, "text"), "name": (0, 1, "text"), "local-name": (0, 1, "text"),
    "namespace-uri": (0, 1, "text"), "concat": (2, 64, "text"), "substring": (2, 3, "text"),
    "substring-before": (2, 2, "text"), "substring-after": (2, 2, "text"), "translate": (3, 3, "text"),
}  # fmt: skip
_TEXTLESS = ("boolean", "not", "true", "false", "lang", "count", "position", "last", "name", "local-name")
_SEARCHING = ("contains", "substring-before", "substring-after", "translate")


class _Nodes(NamedTuple):
    """What a path arrives at, in all its evaluations together."""

    times: int
    """How often the same node can be among them."""
    distinct: int
    """How many different nodes there are at most."""
    each: int
    """How many nodes one evaluation gives at most."""
    nested: bool
    """Whether they can lie inside one another, and so their texts."""
    name: int
    """The length of their elements' names, 1 for any."""

    @property
    def all(self) -> int:
        return self.times * self.distinct

    @property
    def letters(self) -> int:
        return self.times * _BYTES * (_DEPTH // (1 + (self.times > 1)) if self.nested else 1)


class _Value(NamedTuple):
    """A part of an expression: how it is written, what it gives, how many characters that has."""

    written: str
    kind: str  # nodes, text, number or truth
    letters: int = 0
    nodes: _Nodes | None = None
    literal: int = -1
    """The length of what is written out as a text in quotes."""
    constant: bool = False
    """Whether it is written out, as a text or a number."""
    before: str = ""
    """A path up to its last ``//``, which stands for ``before[.//after]`` where only truth is asked for."""
    after: str = ""

    def asked(self, more: str = "") -> str:
        """Return the expression, compared as ``more`` says, for where only the truth of that is asked for."""
        return f"{self.before}[.//{self.after}{more}]" if self.before else self.written + more


_ROOT = _Nodes(1, 1, 1, False, 1)


def affordable(text: str) -> str:
    """Return the expression in a form that costs little on every packet; raises ValueError with the reason."""
    parser = _Parser(text)
    value = parser.truth(parser.expression(_ROOT, 0))
    if parser.kind:
        raise ValueError(f"{parser.word!r} is not expected there")
    return value


class _Parser:
    """Reads an expression once, from left to right, and adds up what it costs."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise ValueError(f"{text[at : at + 10]!r} is not understood")
            at = found.end()
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
        self._at = self._brackets = 0
        self._seconds = 0.0

    @property
    def kind(self) -> str:
        """Of the next token: literal, number, symbol or name; '' at the end."""
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    @property
    def word(self) -> str:
        """The next token; '' at the end."""
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _peek(self) -> str:
        return self._tokens[self._at + 1][1] if self._at + 1 < len(self._tokens) else ""

    def _next(self) -> str:
        word = self.word
        self._at += 1
        return word

    def _take(self, word: str) -> bool:
        if self.word == word and self.kind != "literal":
            self._at += 1
            return True
        return False

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise ValueError(f"{word!r} is missing before {self.word!r}" if self.word else f"{word!r} is missing")

    def _spend(self, seconds: float, what: str) -> None:
        self._seconds += seconds
        if self._seconds > MAX_SECONDS:
            raise ValueError(f"could take more than {MAX_SECONDS} s on a large event, from {what!r} on")

    def truth(self, value: _Value) -> str:
        """Compile a part of which only the truth matters."""
        return value.asked()

    # Expressions -------------------------------------------------------------------------------------------------

    def expression(self, context: _Nodes, level: int) -> _Value:
        """Operators of a level, from ``or`` (0) on, and all that bind more tightly."""
        if level == len(_OPERATORS):
            return self._negative(context)
        left = self.expression(context, level + 1)
        while self.kind in ("symbol", "name") and self.word in _OPERATORS[level].split():
            operator = self._next()
            right = self.expression(context, level + 1)
            self._spend(_STEP * context.all, operator)
            left = self._joined(left, operator, right, level)
        return left

    def _joined(self, left: _Value, operator: str, right: _Value, level: int) -> _Value:
        if level < 2:
            return _Value(f"{self.truth(left)} {operator} {self.truth(right)}", "truth")
        for one in (left, right):
            if one.nodes is not None:
                self._spend(_LETTER * one.nodes.letters, one.written)
        if level > 3:
            return _Value(f"{self._plain(left)} {operator} {self._plain(right)}", "number")
        if left.nodes is not None and right.nodes is not None:
            pairs = min(left.nodes.all * right.nodes.each, right.nodes.all * left.nodes.each)
            self._spend(pairs * (_LESS if level == 3 else _EQUAL), operator)
            return _Value(f"{self._plain(left)} {operator} {self._plain(right)}", "truth")
        for one, other in ((left, right), (right, left)):
            if one.nodes is not None and other.literal >= 0 and level == 3:  # it is read as a number each time
                self._spend(_LETTER * one.nodes.all * other.literal, operator)
            elif one.nodes is not None and not other.constant:
                self._spend(_LETTER * one.nodes.each * other.letters, operator)
        if left.before and right.constant:
            return _Value(left.asked(f" {operator} {right.written}"), "truth")
        if right.before and left.constant:
            turned = operator.translate(str.maketrans("<>", "><"))
            return _Value(right.asked(f" {turned} {left.written}"), "truth")
        return _Value(f"{self._plain(left)} {operator} {self._plain(right)}", "truth")

    def _plain(self, value: _Value) -> str:
        """Compile a part of which more than the truth matters."""
        if value.kind == "union":
            raise ValueError("'|' is taken only where nothing but its truth is asked for")
        if value.before:
            raise ValueError(f"{value.written!r} searches after a search, and more than whether it finds is asked for")
        return value.written

    def _negative(self, context: _Nodes) -> _Value:
        signs = 0
        while self._take("-"):
            signs += 1
        value = self._union(context)
        if not signs:
            return value
        return _Value(f"{'-' * signs}{self._plain(value)}", "number", constant=value.constant)

    def _union(self, context: _Nodes) -> _Value:
        left = self._path(context)
        if self.word != "|" or self.kind != "symbol":
            return left
        parts = [left]
        while self._take("|"):
            parts.append(self._path(context))
        if any(part.nodes is None for part in parts):
            raise ValueError("'|' stands between paths")
        self._spend(_STEP * context.all * len(parts), "|")
        return _Value(f"({' or '.join(self.truth(part) for part in parts)})", "union")

    # Paths -------------------------------------------------------------------------------------------------------

    def _path(self, context: _Nodes) -> _Value:
        word, kind = self.word, self.kind
        called = kind == "name" and self._peek() == "(" and word not in _NODE_TYPES
        if kind in ("literal", "number") or called or word == "(":
            return self._filtered(context)
        before, nodes, written = "", context, ""
        if word in ("/", "//"):
            if context is not _ROOT:
                raise ValueError(f"{word!r} is not allowed in a predicate")
            nodes = _ROOT
            if self._take("/"):
                written = "/"
                if self.kind == "name" or self.word in ("*", "@", ".", ".."):
                    nodes, written = self._step(nodes, written, first=True)
            else:
                nodes, written = self._search(nodes, written)
        else:
            nodes, written = self._step(nodes, written)
        while self.word in ("/", "//") and self.kind == "symbol":
            if self._take("/"):
                nodes, written = self._step(nodes, f"{written}/")
            elif nodes.each == 1:
                nodes, written = self._search(nodes, written)
            else:
                before, written = (f"{before}[.//{written}" if before else written), ""
                nodes, written = self._search(nodes._replace(each=1), "")
                written = written.removeprefix("//")
        return self._arrived(before, nodes, written)

    def _arrived(self, before: str, nodes: _Nodes, written: str) -> _Value:
        if not before:
            return _Value(written, "nodes", nodes.letters, nodes)
        if "[.//" in before and before.count("[.//") > before.count("]"):
            raise ValueError("more than one search after a search")
        return _Value(f"{before}//{written}", "nodes", nodes.letters, nodes, before=before, after=written)

    def _search(self, nodes: _Nodes, written: str) -> tuple[_Nodes, str]:
        """``//`` and what stands behind it, from nodes of which each evaluation has one."""
        self._need("//")
        nodes = self._descend(nodes)
        return self._step(nodes, f"{written}//", searched=True)

    def _descend(self, nodes: _Nodes) -> _Nodes:
        times = nodes.times * (_DEPTH if nodes.distinct > 1 else 1)
        self._spend(_VISIT * times * _NODES, "//")
        return _Nodes(times, _NODES, _NODES, True, 1)

    def _step(self, nodes: _Nodes, written: str, *, first: bool = False, searched: bool = False) -> tuple[_Nodes, str]:
        """One step of a path, with its predicates; ``first`` from the document to its root element."""
        axis = "child"
        if self._take("."):
            self._spend(_STEP * nodes.all, ".")
            return nodes, f"{written}self::node()" if written else "."
        if self._take(".."):
            axis, test = "parent", "node()"
            written += "parent::node()"
        else:
            if self._take("@"):
                axis = "attribute"
            elif self._peek() == "::":
                axis = self._next()
                self._next()
            if axis not in _AXES:
                raise ValueError(f"the axis {axis}:: is not allowed")
            test = self._test()
            shown = {"child": "", "attribute": "@"}.get(axis, f"{axis}::")
            written += f"{shown}{test}"
        nodes = self._moved(nodes, axis, test, first=first, searched=searched)
        if axis == "parent" and self.word in ("[", "//"):  # it would be evaluated for each child
            raise ValueError(f"{self.word!r} does not stand after '..'")
        while self._take("["):
            self._deeper()
            inner = self.expression(nodes._replace(each=1), 0)
            self._need("]")
            self._brackets -= 1
            positional = inner.kind == "number"
            written += f"[{self._plain(inner) if positional else self.truth(inner)}]"
        return nodes, written

    def _test(self) -> str:
        if self._take("*"):
            return "*"
        if self.kind != "name":
            raise ValueError(f"a name is missing before {self.word!r}" if self.word else "a name is missing at the end")
        name = self._next()
        if self.word == "(" and self.kind == "symbol":
            if name in _NOT_THERE:
                raise ValueError(f"{name}() is not looked at")
            if name not in _NODE_TYPES:
                raise ValueError(f"{name}() does not stand within a path")
            self._next()
            self._need(")")
            return f"{name}()"
        return name

    def _moved(self, nodes: _Nodes, axis: str, test: str, *, first: bool, searched: bool) -> _Nodes:
        local = test.rpartition(":")[2]
        length = 1 if "*" in local or "(" in local else len(local)
        named = _NODES if "(" in local else _BYTES // (length + 3)
        self._spend(_STEP * nodes.all, test)
        if axis == "self":
            return nodes
        if axis == "attribute":
            count = _BYTES // (nodes.name + 3 + length + 4)
            self._spend(_VISIT * nodes.times * count, test)
            single = nodes.each == 1 and "*" not in test and not searched
            return _Nodes(nodes.times, min(count, max(nodes.distinct, 1)) if single else count,
                          1 if single else min(count, named), False, nodes.name)  # fmt: skip
        if axis == "parent":
            if nodes.distinct == 1:
                raise ValueError("'..' leads out of the event")
            if nodes.each == 1:
                raise ValueError("'..' is not allowed in a predicate")
            self._spend(_UNITED * nodes.times * nodes.distinct**2 / 2, "..")
            return _Nodes(nodes.times, nodes.distinct, nodes.each, True, 1)
        if axis.startswith("descendant"):
            if nodes.each > 1:
                raise ValueError("more than one search after a search")
            nodes = self._descend(nodes)
        elif first:
            return _Nodes(nodes.times, 1, 1, False, length)
        elif not searched:
            self._spend(_VISIT * nodes.times * _NODES, test)
        return _Nodes(
            nodes.times, named, named, searched or axis != "child" or nodes.nested or nodes.distinct > 1, length
        )

    # What is called or in brackets -------------------------------------------------------------------------------

    def _deeper(self) -> None:
        self._brackets += 1
        if self._brackets > MAX_BRACKETS:
            raise ValueError(f"more than {MAX_BRACKETS} brackets inside one another")

    def _filtered(self, context: _Nodes) -> _Value:
        kind, word = self.kind, self._next()
        if kind == "literal":
            self._spend(_STEP * context.all, word)
            value = _Value(word, "text", len(word) * context.all, literal=len(word) - 2, constant=True)
        elif kind == "number":
            self._spend(_STEP * context.all, word)
            value = _Value(word, "number", constant=True)
        elif word == "(":
            self._deeper()
            inner = self.expression(context, 0)
            self._need(")")
            self._brackets -= 1
            value = inner if inner.before or inner.kind == "union" else inner._replace(written=f"({inner.written})")
        else:
            value = self._called(word, context)
        if self.kind == "symbol" and self.word in ("[", "/", "//"):
            raise ValueError(f"{self.word!r} does not stand after brackets")
        return value

    def _called(self, name: str, context: _Nodes) -> _Value:
        if name in _NOT_THERE:
            raise ValueError(f"{name}() is not looked at")
        if name not in _FUNCTIONS:
            raise ValueError(f"there is no function {name}() here (there are: {', '.join(_FUNCTIONS)})")
        least, most, kind = _FUNCTIONS[name]
        self._need("(")
        self._deeper()
        given: list[_Value] = []
        if not self._take(")"):
            given.append(self.expression(context, 0))
            while self._take(","):
                given.append(self.expression(context, 0))
            self._need(")")
        self._brackets -= 1
        if not least <= len(given) <= most:
            raise ValueError(f"{name}() takes {least if least == most else f'{least} to {most}'} arguments")
        letters = context.letters if not given else sum(each.letters for each in given)
        if name in _TEXTLESS:
            letters = 0
        letter = {"concat": _LETTER * len(given), "translate": _TRANSLATED}.get(name, _LETTER)
        self._spend(_STEP * context.all + letter * letters, f"{name}(")
        if name in _SEARCHING:
            if given[1].literal < 0:
                raise ValueError(f"{name}(...) must look for a text in quotes")
            searched = _SEARCHED_ALONE if name == "translate" else _SEARCHED
            self._spend(searched * given[0].letters * given[1].literal, f"{name}(")
        asked = name in ("boolean", "not")
        written = ", ".join(self.truth(each) if asked else self._plain(each) for each in given)
        return _Value(f"{name}({written})", kind, letters if kind == "text" else 0)
