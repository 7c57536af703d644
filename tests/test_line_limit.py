"""Lines of the log that others cause: a bounded number within a minute."""

from __future__ import annotations

from pyros.line_limit import MAX_LINES, LineLimit
from tests.builders import InlineReactor


def test_lines_are_bounded_and_those_left_out_are_told() -> None:
    reactor = InlineReactor()
    lines = LineLimit(reactor.seconds)
    assert [lines.more() for _ in range(MAX_LINES - 1)] == [""] * (MAX_LINES - 1)
    assert lines.more() == " (more such lines are left out for a minute)"
    assert [lines.more() for _ in range(500)] == [None] * 500
    reactor.advance(61)
    assert lines.more() == " (and 500 before, of which there is no line)"
    assert lines.more() == ""


def test_a_clock_that_is_set_back_leaves_no_more_lines_out() -> None:
    times = [1000.0, *[1001.0] * (MAX_LINES + 5), -2600.0]
    clock = iter(times)
    lines = LineLimit(lambda: next(clock))
    assert [lines.more() for _ in range(MAX_LINES + 5)][-1] is None
    assert lines.more() == " (and 5 before, of which there is no line)"


def test_a_line_is_written_with_what_is_to_be_added() -> None:
    said: list[str] = []
    reactor = InlineReactor()
    lines = LineLimit(reactor.seconds)
    for number in range(100):
        lines.tell(
            lambda line, **values: said.append(line.format(**values)), "{who} is {number}", who="x{", number=number
        )
    assert said[0] == "x{ is 0"
    assert said[-1] == "x{ is 59 (more such lines are left out for a minute)"
    assert len(said) == MAX_LINES
