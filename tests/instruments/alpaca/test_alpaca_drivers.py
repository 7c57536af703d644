"""What the drivers make of wheels, focusers, domes, stations and switches that are slow, stuck, wrong or old."""

from __future__ import annotations

from typing import Any

import pytest

from pyros.errors import CommandAborted, DeviceFailed, DeviceRefused, NoAnswer
from tests.instruments.alpaca.conftest import AlpacaError, AlpacaRig, Http


class SlowWheel:
    """A wheel that turns for two seconds, and stops at ``off`` filters from where it was sent."""

    def __init__(self, server: AlpacaRig, off: int = 0, late: float = 0.0) -> None:
        def turn(parameters: dict[str, str]) -> None:
            server.world.callLater(late, setattr, self, "position", -1)
            server.world.callLater(late + 2, setattr, self, "position", int(parameters["Position"]) + off)

        self.position = 0
        server.answers |= {"GET position": lambda _: self.position, "PUT position": turn}
        server.set(names=["g", "r", "i"])


@pytest.mark.parametrize("late", [0.0, 1.0])
def test_a_wheel(late: float, server: AlpacaRig) -> None:
    """Also one that shows the filter from before for a while."""
    SlowWheel(server, late=late)
    wheel = server.device("filter_wheel")
    started: list[float] = []
    turn = wheel.select("r", started.append)
    server.run(1.5)
    assert server.result(wheel.state()) == "moving"
    assert server.result(wheel.filter()) == ""
    assert server.result(turn, 5) == "r"
    assert started == [1.0]
    assert server.result(wheel.filter()) == "r"


def test_a_wheel_that_stops_elsewhere_or_never(server: AlpacaRig) -> None:
    SlowWheel(server, off=1)
    wheel = server.device("filter_wheel")
    server.fails(DeviceFailed, "filter 2 instead of 1, 'r', is in the beam", wheel.select("r"), 10)
    server.set(position=-1)
    server.fails(DeviceFailed, "turn: no end after 60 s", wheel.select("r"), 70)
    server.set(position=7)
    server.fails(DeviceFailed, "filter 7 of 3", wheel.filter())


class SlowMotor:
    """A focuser of 100 steps a second."""

    def __init__(self, server: AlpacaRig, **values: Any) -> None:
        self.world, self.there, self.until = server.world, 0, 0.0
        server.answers |= {
            "GET position": lambda _: self.there,
            "GET ismoving": lambda _: server.world.seconds() < self.until,
            "PUT move": self.move,
            "PUT halt": lambda _: setattr(self, "until", 0.0),
        }
        server.set(**({"absolute": True, "maxstep": 5000, "maxincrement": 1000} | values))

    def move(self, parameters: dict[str, str]) -> None:
        target = int(parameters["Position"])
        self.until = self.world.seconds() + abs(target - self.there) / 100
        self.there = target


def test_a_long_move_goes_by_increments(server: AlpacaRig) -> None:
    SlowMotor(server)
    focuser = server.device("focuser")
    started: list[float] = []
    assert server.result(focuser.move(2500, started.append), 60) == 2500
    assert [p["Position"] for asked, p in server.asked if asked == "PUT move"] == ["1000", "2000", "2500"]
    assert len(started) == 1
    assert server.result(focuser.temperature()) is None


def test_a_move_is_stopped(server: AlpacaRig) -> None:
    SlowMotor(server)
    focuser = server.device("focuser")
    move = focuser.move(2500)
    server.run(12)
    assert server.result(focuser.state()) == "moving"
    server.result(focuser.stop())
    server.fails(CommandAborted, "", move)
    server.run(60)
    assert server.count("PUT move") == 2


@pytest.mark.parametrize("late", [0.5, 3.0])
def test_a_focuser_whose_position_follows_late(late: float, server: AlpacaRig) -> None:
    motor, shown = SlowMotor(server), [0]
    server.answers["GET position"] = lambda _: shown[0]
    server.answers["GET ismoving"] = False

    def move(parameters: dict[str, str]) -> None:
        server.world.callLater(late, shown.__setitem__, 0, int(parameters["Position"]))

    server.answers["PUT move"] = move
    assert server.result(server.device("focuser").move(500), 20) == 500
    assert motor.there == 0


def test_a_focuser_given_up_is_stopped(server: AlpacaRig) -> None:
    SlowMotor(server)
    server.set(ismoving=True)
    server.fails(DeviceFailed, "no end after 7 s", server.device("focuser", "?move_seconds=7").move(500), 20)
    assert server.count("PUT halt") == 1


def test_a_stop_that_overtakes_a_move_is_told_again(server: AlpacaRig) -> None:
    motor, focuser = SlowMotor(server), server.device("focuser")
    server.result(focuser.move(100), 5)

    def slow(seconds: float) -> None:
        for end in server.world.ends:
            end.delay = seconds

    def here(_: Any) -> int:
        server.world.callLater(0, slow, 0.3)  # the move comes next
        return motor.there

    server.answers["GET position"] = here
    move = focuser.move(500)
    server.run(0.1)
    server.answers["GET position"] = lambda _: motor.there
    slow(0.0)
    stop = focuser.stop()
    server.fails(CommandAborted, "", move, 20)
    server.result(stop, 20)
    assert [asked for asked, _ in server.asked if asked.startswith("PUT ")][-3:] == ["PUT halt", "PUT move", "PUT halt"]


def test_a_stop_that_is_refused_leaves_the_move(server: AlpacaRig) -> None:
    SlowMotor(server)
    focuser = server.device("focuser")
    move = focuser.move(500)
    server.run(2)
    server.answers["PUT halt"] = AlpacaError(0x4FF, "not now")
    server.fails(DeviceFailed, "not now", focuser.stop(), 5)
    assert server.result(move, 20) == 500


def test_an_older_move_that_fails_late_does_not_stop_the_newer(server: AlpacaRig) -> None:
    SlowMotor(server)
    focuser, newer, looks = server.device("focuser"), [], iter(range(3))

    def moving(_: Any) -> Any:
        if next(looks) == 2:
            newer.append(focuser.move(200))
            server.answers["GET ismoving"] = False
        return AlpacaError(0x4FF, "it does not know")

    server.answers["GET ismoving"] = moving
    server.fails(DeviceFailed, "it does not know", focuser.move(500), 20)
    assert server.result(newer[0], 20) == 200
    assert server.count("PUT halt") == 0


def test_focusers_that_fail(server: AlpacaRig) -> None:
    motor, focuser = SlowMotor(server), server.device("focuser")
    server.set(position=500)
    server.fails(DeviceFailed, "at 500 instead of 700", focuser.move(700), 30)
    server.set(absolute=False)
    motor.until = 0.0
    other = server.device("focuser")
    server.fails(DeviceRefused, "UNSUPPORTED: Old device knows no positions", other.move(10), 5)


class SlowShutter:
    """A dome whose shutter takes 20 seconds."""

    def __init__(self, server: AlpacaRig, **values: Any) -> None:
        self.world, self.now = server.world, 1
        self.call: Any = None
        server.answers |= {
            "GET shutterstatus": lambda _: self.now,
            "PUT openshutter": lambda _: self.go(2, 0),
            "PUT closeshutter": lambda _: self.go(3, 1),
            "PUT abortslew": lambda _: self.go(4, 4),
        }
        server.set(**({"cansetshutter": True, "cansetazimuth": True, "azimuth": 0.0, "slewing": False} | values))

    def go(self, meanwhile: int, end: int) -> None:
        if self.call is not None and self.call.active():
            self.call.cancel()
        if self.now != end:
            self.now = meanwhile
            self.call = self.world.callLater(20, setattr, self, "now", end)


def test_a_shutter(server: AlpacaRig) -> None:
    SlowShutter(server)
    dome = server.device("dome")
    started: list[float] = []
    server.result(dome.open(started.append), 30)
    assert server.result(dome.state()) == "open"
    assert started == [30.0]
    server.result(dome.open(started.append), 1)
    assert len(started) == 1
    server.result(dome.close(started.append), 30)
    assert started[1] == pytest.approx(20, abs=1)  # what it took before


def test_a_stop_aborts_an_opening_however_late_the_dome_answers_it(server: AlpacaRig) -> None:
    """The opening sees that the shutter stands still long before it is known that the dome has taken the stop."""
    shutter, dome = SlowShutter(server), server.device("dome")
    opening = dome.open()
    server.run(10)

    def stop(_: Any) -> None:
        shutter.call.cancel()
        shutter.now = 4
        server.run(3)

    server.answers["PUT abortslew"] = stop
    stopping = dome.stop()
    server.fails(CommandAborted, "open: stopped", opening, 5)
    server.result(stopping, 5)


def test_an_opening_is_not_told_as_done_once_the_closing_was_taken(server: AlpacaRig) -> None:
    """The dome's answer that it is open comes after it has begun to close."""
    shutter, dome = SlowShutter(server), server.device("dome")
    closing: list[Any] = []

    def status(_: Any) -> int:
        seen = shutter.now
        if seen == 0 and not closing:
            closing.append(dome.close())
            server.run(1)
            assert shutter.now == 3
        return seen

    server.answers["GET shutterstatus"] = status
    server.fails(CommandAborted, "open: close took its place", dome.open(), 30)
    server.result(closing[0], 30)
    assert server.result(dome.state()) == "closed"


def test_a_closing_does_not_wait_for_the_answer_to_an_opening(server: AlpacaRig) -> None:
    """Some domes answer only when they are open: the closing is sent at once, and again then."""
    shutter, dome = SlowShutter(server), server.device("dome")
    closing: list[Any] = []
    meanwhile: list[int] = []

    def open_(_: Any) -> None:
        shutter.go(2, 0)
        closing.append(dome.close())
        server.run(1)
        meanwhile.append(shutter.now)

    server.answers["PUT openshutter"] = open_
    server.fails(CommandAborted, "open: close took its place", dome.open(), 30)
    server.result(closing[0], 30)
    assert meanwhile == [3]
    assert server.count("PUT closeshutter") == 2


def test_shutters_that_fail(server: AlpacaRig) -> None:
    shutter, dome = SlowShutter(server), server.device("dome")
    opening = dome.open()
    server.run(5)
    shutter.go(4, 4)
    shutter.call.cancel()
    server.fails(DeviceFailed, "open: its shutter is stopped", opening, 5)
    server.set(shutterstatus=3)
    server.fails(DeviceFailed, "close: no end after 300 s", dome.close(), 310)
    server.set(shutterstatus=9)
    server.fails(DeviceFailed, "answered 9 to GET shutterstatus", dome.state())


def test_a_roof(server: AlpacaRig) -> None:
    SlowShutter(server, cansetazimuth=False, azimuth=AlpacaError(0x400))
    dome = server.device("dome")
    assert server.result(dome.azimuth()) is None
    server.fails(DeviceRefused, "UNSUPPORTED", dome.rotate(10.0))


def test_a_dome_without_a_shutter_and_a_slaved_one(server: AlpacaRig) -> None:
    SlowShutter(server, cansetshutter=False)
    server.answers["PUT slewtoazimuth"] = AlpacaError(0x409, "slaved to the telescope")
    dome = server.device("dome")
    server.fails(DeviceRefused, "UNSUPPORTED", dome.open())
    closing = dome.close()  # whatever it says of itself, it is told to close
    closing.addErrback(lambda _: None)
    server.run(1)
    assert server.count("PUT closeshutter") == 1
    server.fails(DeviceRefused, r"STATE: .*slaved", dome.rotate(10.0))


def test_a_dome_that_turns_elsewhere(server: AlpacaRig) -> None:
    SlowShutter(server, azimuth=30.0)
    dome = server.device("dome")
    server.fails(DeviceFailed, r"azimuth 30.0 instead of 40", dome.rotate(400.0 - 360.0), 10)
    assert server.result(dome.rotate(-328.0), 5) == 30.0
    assert server.last("PUT slewtoazimuth") == {"Azimuth": "32.0"}


WEATHER = {"temperature": 5.5, "humidity": 60.0, "windspeed": 3.0, "rainrate": 0.2, "cloudcover": 40.0}


def test_weather(server: AlpacaRig) -> None:
    server.set(**WEATHER, windgust=7.0, pressure=930.0, timesincelastupdate=20.0)
    reading = server.result(server.device("weather").read())
    assert (reading.temperature, reading.humidity, reading.wind, reading.rain, reading.cloud) == (5.5, 60, 3, True, 0.4)
    assert (reading.gust, reading.pressure, reading.dew_point) == (7.0, 930.0, None)
    assert 20.0 <= reading.age < 21.0


@pytest.mark.parametrize(
    ("absent", "name"),
    [("rainrate", "rain"), ("cloudcover", "cloud"), ("windspeed", "wind"), ("humidity", "humidity")],
)
def test_an_absent_sensor_is_named_in_the_address(absent: str, name: str, server: AlpacaRig) -> None:
    """What it has not is not made up: it is unknown."""
    server.set(**WEATHER | {absent: AlpacaError(0x400)})
    with pytest.raises(DeviceRefused, match=rf"no sensor for {name}, say so in its address: \?without={name}"):
        server.result(server.device("weather").read())
    assert getattr(server.result(server.device("weather", f"?without={name}").read()), name) is None


@pytest.mark.parametrize("member", ["cloudcover", "rainrate", "windgust"])
@pytest.mark.parametrize(
    "answer",
    [
        *map(AlpacaError, (0x401, 0x402, 0x407, 0x40B, 0x40C, 0x40D, 0x500)),
        Http(404, b"no"),
        Http(400, b"no"),
        "wet",
        None,
    ],
)
def test_a_sensor_out_of_order_is_no_good_weather(member: str, answer: Any, server: AlpacaRig) -> None:
    server.set(**WEATHER, **{} if member in WEATHER else {member: 1.0})
    station = server.device("weather")
    server.result(station.read())
    server.set(**{member: answer})
    server.fails((DeviceFailed, NoAnswer), "", station.read(), 20)


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("rainrate", -1.0, "rain_rate of -1 mm/h"), ("windspeed", -9999.0, "wind of -9999 m/s"),
        ("windspeed", 101.0, "wind of 101 m/s"), ("humidity", -100.0, "humidity of -100 percent"),
        ("humidity", 140.0, "humidity of 140 percent"), ("cloudcover", -1.0, "cloud of -0.01 of the sky"),
        ("cloudcover", 101.0, "cloud of 1.01 of the sky"), ("temperature", -127.0, "temperature of -127"),
        ("windgust", -1.0, "gust of -1 m/s"), ("pressure", 0.0, "pressure of 0 hPa"),
    ],
)  # fmt: skip
def test_a_reading_that_cannot_be_fails(member: str, value: float, words: str, server: AlpacaRig) -> None:
    server.set(**WEATHER | {member: value})
    server.fails(DeviceFailed, words, server.device("weather").read())


@pytest.mark.parametrize("member", ["RainRate", "CloudCover", "WindSpeed", "Humidity", "Temperature"])
def test_each_sensor_has_an_age_of_its_own(member: str, server: AlpacaRig) -> None:
    ages = {member: 200.0}
    server.set(**WEATHER, timesincelastupdate=lambda p: ages.get(p["SensorName"], 1.0))
    station = server.device("weather")
    assert server.result(station.read()).age == pytest.approx(200.0, abs=1.0)
    ages[member] = 7200.0
    server.fails(DeviceFailed, "was read 7200 s ago, more than 300 s", station.read())
    ages[member] = -1.0
    server.fails(DeviceFailed, "has not been read yet", station.read())
    ages[member] = 10.0
    server.fails(DeviceFailed, "was read 10 s ago, more than 5 s", server.device("weather", "?oldest_seconds=5").read())


@pytest.mark.parametrize(("age", "words"), [(7200.0, "it was read 7200 s ago"), (-1.0, "it has not been read yet")])
def test_a_station_that_tells_only_its_newest_age(age: float, words: str, server: AlpacaRig) -> None:
    server.set(**WEATHER, timesincelastupdate=lambda p: AlpacaError(0x400) if p.get("SensorName") else age)
    station = server.device("weather")
    server.fails(DeviceFailed, words, station.read())
    age = 30.0
    assert server.result(station.read()).age == pytest.approx(30.0, abs=1.0)


def test_the_age_of_a_sensor_that_is_not_there_is_not_asked(server: AlpacaRig) -> None:
    server.set(**WEATHER, timesincelastupdate=lambda p: -1.0 if p["SensorName"] == "WindGust" else 1.0)
    reading = server.result(server.device("weather").read())
    assert (reading.gust, reading.wind) == (None, 3.0)


def test_a_value_measured_anew_while_it_is_asked_for_is_read_again(server: AlpacaRig) -> None:
    rain = iter([0.0, 2.0])
    server.set(**WEATHER | {"rainrate": lambda _: next(rain)}, timesincelastupdate=0.0)
    station = server.device("weather")
    asked = server.answers["GET rainrate"]

    def slow(parameters: dict[str, str]) -> Any:
        server.world.advance(0.5)
        return asked(parameters)

    server.answers["GET rainrate"] = slow
    assert server.result(station.read(), 5).rain


@pytest.mark.parametrize("member", ["pressure", "dewpoint", "skyquality"])
def test_what_nothing_depends_on_may_be_unknown(member: str, server: AlpacaRig) -> None:
    server.set(**WEATHER, **{member: AlpacaError(0x40B, "too bright")})
    reading = server.result(server.device("weather").read())
    assert (reading.pressure, reading.dew_point, reading.sky_brightness) == (None, None, None)


def test_safety(server: AlpacaRig) -> None:
    server.set(issafe=False)
    safety = server.result(server.device("safety").read())
    assert (safety.safe, safety.reason) == (False, "Old device says so")


def test_switches(server: AlpacaRig) -> None:
    server.set(maxswitch=2, getswitchname=lambda p: ["lamp", "door"][int(p["Id"])], getswitchvalue=0.0,
               canwrite=lambda p: p["Id"] == "0", maxswitchvalue=10.0)  # fmt: skip
    switch = server.device("switch")
    channels = server.result(switch.channels())
    assert [(each.name, each.writable, each.least, each.most, each.step) for each in channels] == [
        ("lamp", True, 0.0, 10.0, 1.0),
        ("door", False, 0.0, 10.0, 1.0),
    ]
    server.fails(DeviceFailed, "'lamp' is at 0 instead of 5", switch.set(0, 5.0))
    server.fails(DeviceRefused, "UNSUPPORTED: Old device: 'door' can only be read", switch.set(1, 5.0))


@pytest.mark.parametrize("count", [-1, 257, 2**31 - 1])
def test_a_number_of_channels_that_cannot_be(count: int, server: AlpacaRig) -> None:
    server.set(maxswitch=count)
    server.fails(DeviceFailed, "at most 256", server.device("switch").channels())
