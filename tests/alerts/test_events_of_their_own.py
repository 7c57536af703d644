"""Events of their own: flares of one source, candidates in a superevent, packets whose number means none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pyros.alerts import identity, parse
from pyros.alerts.identity import Event
from tests.builders import voevent


def flare(day: int, **fields: Any) -> bytes:
    notice = {
        "$schema": "https://gcn.nasa.gov/schema/v6.0.0/gcn/notices/fermi/lat/flare.schema.json", "mission": "Fermi",
        "event_name": "4FGL J0509.4+0541", "trigger_time": f"2026-05-{day:02}T10:00:00Z", "ra": 77.36, "dec": 5.69,
        "alert_datetime": f"2026-05-{day:02}T12:00:00Z", "alert_type": "initial", "ra_dec_error": 0.1,
    }  # fmt: skip
    return msgspec.json.encode(notice | fields)


def counterpart(serial: int, source: int | None) -> bytes:
    params = '<Param name="Packet_Type" value="154"/><Param name="GraceID" value="S260501ab"/>'
    if source is not None:
        params += f'<Param name="Source_SerNum" value="{source}"/>'
    return voevent(f"ivo://nasa.gsfc.gcn/LVC#S260501ab-{serial}-Counterpart", params=params, ra=10.0 + serial)


def same(one: bytes, other: bytes) -> bool:
    first, second = (identity.packet_record(parse(each)) for each in (one, other))
    assert first.id != second.id
    return identity.is_same_event(Event((first,)), second)


def test_each_flare_of_a_source_is_an_event() -> None:
    assert parse(flare(6)).event == "fermi:4FGL J0509.4+0541@2026-05-06"
    assert not same(flare(6), flare(9))
    assert same(flare(6), flare(6, alert_type="retraction", alert_datetime="2026-05-07T01:00:00Z"))


def test_each_candidate_of_a_superevent_is_an_event_and_none_is_the_superevent() -> None:
    wave = voevent(
        "ivo://gwnet/LVC#S260501ab-1-Initial", ra=None,
        params='<Param name="Packet_Type" value="151"/><Param name="GraceID" value="S260501ab"/>',
    )  # fmt: skip
    assert parse(wave).event == "lvc:S260501ab"
    assert parse(counterpart(1, 1)).event == "lvc:S260501ab/counterpart:1"
    assert not same(counterpart(1, 1), wave)
    assert not same(counterpart(1, 1), counterpart(2, 2))
    assert same(counterpart(1, 1), counterpart(2, 1)), "the same candidate, told again"
    assert not same(counterpart(1, None), counterpart(2, None))


@pytest.mark.parametrize(
    "number", ["0", "000000", "0.0", "-1", "-1.0", "-999", "N/A", "none", "nan", "-inf", "Unknown", "--"]
)
def test_numbers_that_mean_none_join_nothing(number: str) -> None:
    one, other = (
        voevent(f"ivo://nasa.gsfc.gcn/Fermi#{name}", params=f'<Param name="TrigID" value="{number}"/>', ra=ra)
        for name, ra in (("GBM_a", 10.0), ("GBM_b", 200.0))
    )
    assert not same(one, other)
    notices = [
        msgspec.json.encode({
            "$schema": "https://gcn.nasa.gov/schema/main/gcn/notices/newmission/burst.schema.json", "id": [number],
            "trigger_time": f"2026-05-0{day}T10:00:00Z", "alert_datetime": f"2026-05-0{day}T10:00:10Z",
        })
        for day in (1, 2)
    ]  # fmt: skip
    assert not same(*notices)


def test_numbers_that_only_look_like_none_are_numbers() -> None:
    for number in ("-1855464825", "10", "7"):
        params = f'<Param name="TrigID" value="{number}"/>'
        assert parse(voevent("ivo://nasa.gsfc.gcn/SWIFT#x", params=params)).event == f"swift:{number}"
