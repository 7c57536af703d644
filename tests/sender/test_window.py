"""How much bulk may be on its way."""

from __future__ import annotations

from twisted.internet.task import Clock

from pyros.sender.window import FIRST_BYTES, MAX_BYTES, MIN_BYTES, SendWindow


def send(window: SendWindow, clock: Clock, seconds: float, times: int) -> None:
    for number in range(1, times + 1):
        window.wrote(number)
        clock.advance(seconds)
        window.answered(number)
    window.begin_again()


def test_the_window_follows_the_path() -> None:
    clock = Clock()
    window = SendWindow(True, clock.seconds)
    assert window.bytes == FIRST_BYTES
    send(window, clock, 5.0, 20)
    assert window.bytes == MIN_BYTES
    send(window, clock, 0.1, 1000)
    assert window.bytes == MAX_BYTES
    send(window, clock, 0.7, 10)
    assert window.bytes == MAX_BYTES


def test_what_is_not_bulk_has_all_the_room() -> None:
    clock = Clock()
    window = SendWindow(False, clock.seconds)
    send(window, clock, 60.0, 10)
    assert window.bytes == MAX_BYTES


def test_an_answer_to_another_connection_tells_nothing() -> None:
    clock = Clock()
    window = SendWindow(True, clock.seconds)
    window.wrote(1)
    window.begin_again()
    clock.advance(60.0)
    window.answered(1)
    assert window.bytes == FIRST_BYTES
