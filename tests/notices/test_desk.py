"""Who is told what, and when: once, until it changes, within limits and hours; and never twice but for one repeat."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyros.errors import PyrosError
from pyros.notices.desk import MAX_CAUSES, MAX_WAITING, Desk, cause_name
from pyros.notices.links import LINK_SECONDS, make_token, read_token
from pyros.notices.notice import Notice, NoticeBook
from pyros.notices.rules import NoticeRule, NoticeRules, Recipient
from tests.notices.conftest import KEY, NOW, NoticeDeskRig, alarm, fault

Makes = Callable[..., NoticeDeskRig]
ALL = "- {name: all, what: all, to: ada}"


def test_the_same_text_is_told_once_until_it_changes_or_is_over(told: Makes) -> None:
    desk = told(ALL)
    assert desk.take(fault()) == [("ada", "[test] fault: camera: the camera is not connected")]
    assert desk.take(fault(), 30) == []
    assert desk.take(fault("the camera's power is off"), 30) == [
        ("ada", "[test] fault: camera: the camera's power is off")
    ]
    assert desk.take(fault(over=True), 30) == [("ada", "[test] good again: camera: the camera's power is off")]
    assert desk.take(fault(over=True), 30) == []
    assert len(desk.take(fault("the camera's power is off"), 30)) == 1


def test_what_was_never_told_is_not_told_to_be_over(told: Makes) -> None:
    assert told(ALL).take(fault(over=True)) == []
    assert told("- {name: alarms, what: alarm, to: ada}").take(fault()) == []


def test_each_recipient_hears_of_a_thing_by_one_rule(told: Makes) -> None:
    desk = told("""
        - {name: one, what: fault, to: ada}
        - {name: two, what: all, to: [bob, ada]}
    """)
    assert [name for name, _ in desk.take(fault())] == ["ada", "bob"]
    assert [name for name, _ in desk.take(fault(over=True))] == ["ada", "bob"]


def test_a_rule_chooses_by_agent_and_word(told: Makes) -> None:
    desk = told("- {name: one, what: [fault, job], from: [camera], contains: [POWER], to: ada}")
    assert desk.take(fault()) == []
    assert desk.take(fault("no power", "other"))
    assert desk.take(Notice(kind="fault", source="dome", key="x", text="no power")) == []


def test_a_thousand_events_a_minute_are_six_messages_and_a_summary(told: Makes) -> None:
    desk = told(ALL)
    for number in range(1000):
        desk.take(fault(f"fault {number}", f"key {number}"), 0.06)
    within = [subject for _, subject in desk.sent]
    assert len(within) <= 7
    summary = desk.go(120)
    assert [subject for _, subject in summary] == ["[test] 994 more: all"]
    assert "fault 6\n" in desk.bodies[-1]
    assert "and 944 more" in desk.bodies[-1]


def test_critical_ones_pass_quiet_hours_and_limits_but_never_flood(told: Makes) -> None:
    desk = told("- {name: all, what: all, to: ada, at_most: 1 per 1 h, quiet: '14:00-15:00'}")
    assert desk.take(fault()) == []
    for number in range(6):
        assert desk.take(alarm(key=f"key {number}"), 1)
    for number in range(300):
        assert desk.take(alarm(key=f"more {number}")) == []
    assert [subject for _, subject in desk.go(60)] == ["[test] 300 more: all"]


def test_quiet_hours_hold_back_until_they_end(told: Makes) -> None:
    desk = told("- {name: all, what: all, to: ada, quiet: '16:00-17:00'}", "zone: Europe/Paris")
    desk.take(fault())  # 16:13 in Paris
    desk.take(fault("another", "b"), 60)
    desk.take(fault(over=True), 60)
    assert desk.sent == []
    assert [subject for _, subject in desk.go(2900)] == ["[test] 2 more: all"]
    assert "the camera is not connected (2 times) - good again" not in desk.bodies[0]
    assert "the camera is not connected - good again" in desk.bodies[0]


def test_a_restart_is_not_the_end_of_an_alarm_that_lasts(told: Makes) -> None:
    desk = told(ALL)
    desk.take(alarm())
    desk.take(alarm("the roof leaks", "roof"))
    desk.desk.source_begun("dome", desk.now)
    assert desk.take(alarm(), 20) == []
    assert desk.go(300) == [("ada", "[test] good again: dome: the roof leaks")]


def test_what_is_acknowledged_is_told_again_only_when_it_is_over(told: Makes) -> None:
    desk = told("- {name: all, what: all, to: ada, remind: 30 min}")
    desk.take(alarm())
    assert [subject[:18] for _, subject in desk.go(3700)] == ["[test] still ALARM"] * 2
    token = re.search(r"pyros notify ack (\S+)", desk.bodies[0])
    assert token is not None
    cause = desk.desk.acknowledge(read_token(KEY, token[1], desk.now), "ada\x1b[2J")
    assert cause is not None
    assert cause.acknowledged == "ada\\x1b[2J"
    assert desk.go(7200) == []
    assert desk.take(alarm("the dome is stuck")) == []
    assert len(desk.take(alarm(over=True))) == 1


def test_a_link_is_of_this_observatory_and_ends(told: Makes) -> None:
    token = make_token(KEY, "12-1790000000", NOW)
    assert read_token(KEY, f" {token}\n", NOW) == "12-1790000000"
    with pytest.raises(PyrosError, match="has ended"):
        read_token(KEY, token, NOW + LINK_SECONDS + 1)
    for wrong in (token.replace("12-", "13-"), token[:-1], "", "é" * 50, token.replace(".", ".9", 1)):
        with pytest.raises(PyrosError, match="not one of this observatory's"):
            read_token(KEY, wrong, NOW)
    with pytest.raises(PyrosError, match="not one of this observatory's"):
        read_token(b"x" * 32, token, NOW)


@given(st.text(max_size=300))
def test_no_text_is_a_link(text: str) -> None:
    with pytest.raises(PyrosError):
        read_token(KEY, text, NOW)


def test_what_a_service_does_not_take_is_tried_for_a_day(told: Makes) -> None:
    desk = told(ALL)
    desk.desk.take(fault(), desk.now)
    attempts = 0
    while desk.book.waiting:
        for each in desk.desk.begin(desk.now):
            attempts += 1
            desk.desk.end(each.number, each.attempts, "not taken", "dead\n", desk.now)
        desk.now += 1.0
    assert 100 < attempts < 200  # 10 s and twice as long each time, 10 minutes at most
    assert desk.now - NOW > 86_000
    assert desk.book.ended[-1].reason == "not taken for a day: dead "


def test_everything_that_is_kept_is_bounded(told: Makes) -> None:
    desk = told("- {name: all, what: all, to: ada, at_most: 9999 per 1 s}")
    for number in range(1000):
        desk.now += 0.01
        desk.desk.take(fault("x" * 5000, f"key {number}"), desk.now)
    assert len(desk.book.waiting) <= MAX_WAITING
    assert len(desk.book.causes) <= MAX_CAUSES
    assert len(msgspec.json.encode(desk.book)) < 4_000_000


RULES = NoticeRules(
    path=None,  # type: ignore[arg-type]
    recipients=(Recipient(name="ada", mail=("ada@example.org",)),),
    rules=(NoticeRule(name="all", kinds=("alarm",), to=("ada",)),),
)


@given(st.lists(st.sampled_from(["nothing", "before", "during", "after"]), max_size=12))
def test_killed_at_any_step_a_message_comes_once_and_at_most_once_more(kills: list[str]) -> None:
    """Each attempt may be cut off: before it is journalled, while the service has it or not, before its end is."""
    journal, came, now = msgspec.json.encode(NoticeBook()), 0, NOW
    fates = iter([*kills, "nothing", "nothing", "nothing"])

    def live() -> Desk:
        desk = Desk(RULES, msgspec.json.decode(journal, type=NoticeBook), "test", KEY)
        desk.recover(now)
        return desk

    desk = live()
    desk.take(alarm(), now)  # the sender repeats a message until its turn is committed
    journal = msgspec.json.encode(desk.book)
    reached = 0
    while desk.book.waiting:
        now += 1000.0
        fate = next(fates)
        begun = desk.begin(now)
        if fate == "before":
            desk = live()
            continue
        journal = msgspec.json.encode(desk.book)
        reached += fate == "during"
        came += fate != "during"
        if fate == "nothing":
            for each in begun:
                desk.end(each.number, each.attempts, "sent", "", now)
            journal = msgspec.json.encode(desk.book)
        else:
            desk = live()
            journal = msgspec.json.encode(desk.book)
    assert came <= 2
    assert came + reached >= 1
    assert came >= 1 or reached == 2  # lost only where two attempts were cut off before the service had it
    (ended,) = desk.book.ended
    assert (ended.how == "given up") == (came + reached == 2 and "tried twice" in ended.reason)


def test_an_acknowledgement_of_something_forgotten_is_no_error(told: Makes) -> None:
    desk = told(ALL)
    desk.take(alarm())
    (cause,) = desk.book.causes.values()
    assert desk.desk.acknowledge(cause_name(cause), "ada") is cause
    assert desk.desk.acknowledge("99-1", "ada") is None
