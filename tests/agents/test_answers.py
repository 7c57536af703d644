"""What other agents acknowledged, before a turn has stored it."""

from __future__ import annotations

from pyros.agents.runtime.answers import Acknowledgements


def test_what_is_acknowledged_waits_no_more_though_it_is_not_stored() -> None:
    answers = Acknowledgements()
    journal = {"dome": 10, "camera": 2}, {"dome": 25, "camera": 2}
    assert answers.still_waiting(*journal) == {"dome": 10, "camera": 2}
    answers.add("dome", 22, [], 0.0)
    answers.add("camera", 2, [], 0.0)
    assert answers.still_waiting(*journal) == {"dome": 3}
    answers.take()
    assert answers.still_waiting(*journal) == {"dome": 3}, "it is on its way into the journal"


def test_an_old_acknowledgement_hides_nothing() -> None:
    answers = Acknowledgements()
    answers.add("dome", 5, [], 0.0)
    assert answers.still_waiting({"dome": 4}, {"dome": 20}) == {"dome": 4}
