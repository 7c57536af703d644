"""The pages of what agents know: links, forms and pictures; and the charts that the server draws."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import msgspec
import pytest

from pyros import messages
from pyros.agents import Agent
from pyros.agents.monitoring import MonitoringState
from pyros.agents.scheduler import SchedulerState
from pyros.console import night
from pyros.console.request_form import given_of
from pyros.console.roles import Role
from pyros.console.switches import SwitchFile
from pyros.imagery.index import ImageIndex, index_file
from pyros.imagery.record import ImageRecord
from pyros.messages import Exposures, Message, Observation, Orbit, SourceFound, Telemetry, Window
from pyros.nights import diary
from pyros.nights.diary import DiaryLine
from pyros.planning import night_log
from pyros.planning.intake.amending import amended
from pyros.planning.intake.draft import Draft
from pyros.planning.intake.names import NamedPosition
from pyros.planning.intake.validation import Reviewer
from pyros.planning.night_log import NightLine
from pyros.views.events import EventLine
from tests.conftest import wait_until
from tests.console.conftest import RunningConsole
from tests.views.test_lists import written_events
from tests.views.written import commit, received

SAFE_FORMS = {"/stop", "/hold", "/release", "/sign-out"}
"""What is taken in read-only mode, too."""
COMET = Orbit(perihelion_distance=1.0, eccentricity=1.0, inclination=10.0, node=0.0, argument=0.0, perihelion=60000.0)


def found(time: float, magnitude: float, filter_: str = "r") -> SourceFound:
    return SourceFound(observation="o", alert="a", event="e", ra=1.0, dec=2.0, magnitude=magnitude,
                       magnitude_error=0.05, filter=filter_, time=time)  # fmt: skip


def test_a_charts_numbers_are_where_they_belong() -> None:
    charts = pytest.importorskip("pyros.console.charts")
    points = [found(1010.0, 14.0), found(1100.0, 15.0), found(2000.0, 16.5, "<i>")]
    drawn = ElementTree.fromstring(charts.light_curve(points, 1000.0))
    circles = [each for each in drawn.iter("circle") if each.find("title") is not None]
    places = [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in circles]
    assert places == sorted(places)  # later is to the right, and fainter is below
    assert {"10", "100", "1000", "magnitude", "seconds after the event"} <= {each.text for each in drawn.iter("text")}
    assert charts.light_curve([], None) == ""
    for since in (None, 5000.0):
        ElementTree.fromstring(charts.light_curve(points[:1], since))


@pytest.mark.parametrize(("ra", "dec", "x", "y"), [(180, 0, 0, 0), (180, 90, 0, -100), (359.999, 0, -200, 0),
                                                   (0, 0, 200, 0), (90, 0, 108.2, 0)])  # fmt: skip
def test_an_event_is_where_it_is_on_the_whole_sky(ra: float, dec: float, x: float, y: float) -> None:
    charts = pytest.importorskip("pyros.console.charts")
    event = EventLine(number=1, name="<b>&", ra=ra, dec=dec, error_radius=0.1)
    drawn = ElementTree.fromstring(charts.sky_map([event, EventLine(number=2, name="nowhere")]))
    (mark,) = drawn.iter("circle")
    assert float(mark.attrib["cx"]) == pytest.approx(x, abs=0.2)
    assert float(mark.attrib["cy"]) == pytest.approx(y, abs=0.2)
    assert mark.findtext("title") == "<b>&: rejected"


def test_each_panels_template_is_in_the_table() -> None:
    templates = Path(night.__file__).with_name("templates") / "panels"
    assert {path.stem for path in templates.glob("*.html")} == set(night.PANELS)


def test_lists_lead_to_what_they_list(console: RunningConsole) -> None:
    written_events(console.config, 60)
    index = ImageIndex(index_file(console.config))
    file = console.config.data / "images" / "one.fits"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"no FITS")
    file.with_suffix(".png").write_bytes(b"PNG")
    index.add([ImageRecord(path=str(file), night="2026-03-20", started=5.0, event="swift:60", filter="r")])
    index.close()
    night = DiaryLine("2026-03-20", 1.0, "state", "ready", "<script>")
    commit(console.config, "majordome", None, [received("Tell me", error="Traceback\nValueError: bad <b>")],
           [diary.prepare, partial(diary.write, line=night)])  # fmt: skip
    browser = console.browser(Role.VIEWER)
    first = browser.get("/events")
    older = re.search(r'rel="next" href="([^"]+)"', first.body)
    assert older is not None
    assert "swift:10<" in browser.get(f"/events{older[1].replace('&amp;', '&')}").body
    assert "swift:60<" in browser.get("/events?ra=00:40:00&dec=%2B20:00:00&radius=0.1").body
    there = browser.get("/events?ra=10&dec=20&radius=0.1&sky_map=&share=").body
    assert "swift:60<" in there
    assert "radius=0.1&amp;" in there  # the next page is of the same place
    assert "No event lies there" in browser.get(f"/events?moc={quote('0/11')}").body
    shown = browser.get(f"/event?key={quote('swift:60')}").body
    for words in ("swift:60", "error 0.1 deg", "/images/1/preview", "first position"):
        assert words in shown, words
    assert browser.get("/event?key=none").status == browser.get("/event").status == 404
    assert browser.get("/images/1/fits").body == "no FITS"
    assert browser.get("/images/1/preview").headers["content-type"] == "image/png"
    file.with_suffix(".png").unlink()
    assert "no preview" in browser.get("/images/1/preview").body
    assert browser.get("/images/7/fits").status == browser.get("/images/7/preview").status == 404
    assert "cannot be read" in browser.get("/images/1").body
    failed = browser.get("/messages?failed=yes").body
    assert "ValueError: bad &lt;b&gt;" in failed
    for path in ("/messages?failed=yes", "/messages.json", "/api/v1/messages", "/tonight.json", "/"):
        assert "Traceback" not in browser.get(path).body, path
    assert "Traceback" in console.browser(Role.ADMIN).get("/messages.json").body
    assert "/messages/retry" not in failed  # for operators
    operator = console.browser(Role.OPERATOR)
    assert "/messages/retry" in operator.get("/messages?failed=yes").body
    switches = SwitchFile(console.section.folder)
    switches.set("read_only", on=True)
    try:  # no button is there that would be refused
        for path in ("/messages?failed=yes", "/devices", "/event?key=swift:60", "/requests", "/you"):
            assert set(re.findall(r'action="([^"]+)"', operator.get(path).body)) <= SAFE_FORMS, path
    finally:
        switches.set("read_only", on=False)
    report = browser.get("/nights/2026-03-20").body
    assert "&lt;script&gt;" in report
    for path in ("/events?after=x", "/images?ra=1", "/events?sky_map=swift:60", "/images?moc=5/x", "/events?share=0.5",
                 f"/images?moc={'0/1+' * 3000}", "/images?after=q", "/messages?after=q", "/nights/yesterday",
                 "/weather?hours=nan", f"/events?after={1 << 70}"):  # fmt: skip
        assert browser.get(path).status == 400, path


def test_a_time_that_is_no_date_is_shown_as_its_number(console: RunningConsole) -> None:
    told = Telemetry("filter_wheel", "idle", 1e300, {"filter": "r"})
    commit(console.config, "monitoring", MonitoringState(telemetry={"filter_wheel": told}))
    viewer = console.browser(Role.VIEWER)
    for path in ("/devices", "/device?key=filter_wheel"):
        shown = viewer.get(path)
        assert (shown.status, "1e+300" in shown.body) == (200, True), path


def test_a_request_is_checked_before_it_is_sent(console: RunningConsole) -> None:
    observer = console.browser(Role.OBSERVER)
    good = {"target": "M 31", "ra": "00:42:44", "dec": "+41:16:09", "exposures": "r:60x3", "check": "yes"}
    checked = observer.post("/requests/new", good, page="/requests")
    assert checked.status == 200
    assert "It can be made" in checked.body
    refused = observer.post("/requests/new", good | {"exposures": "r", "dec": "+95"}, page="/requests")
    assert refused.status == 400
    assert "FILTER:SECONDS" in refused.body
    assert 'value="M 31"' in refused.body
    never = observer.post("/requests/new", good | {"dec": "-80"}, page="/requests")
    assert "cannot be observed within a year" in never.body
    assert 'class="warn message"' in never.body
    unanswered = observer.post("/requests/new", {**good, "check": ""}, page="/requests")
    assert unanswered.status == 503  # no scheduler runs here
    assert "nothing was changed" in unanswered.body


def test_only_the_own_request_is_cancelled_by_an_observer(console: RunningConsole) -> None:
    asked = Observation(id="theirs", target="T", ra=1.0, dec=2.0, exposures=(Exposures("r", 1.0),), owner="somebody")
    commit(console.config, "scheduler", SchedulerState(requests={"theirs": asked}))
    observer, operator = console.browser(Role.OBSERVER), console.browser(Role.OPERATOR)
    assert observer.post("/requests/cancel", {"key": "theirs"}, page="/requests").status == 409
    assert observer.post("/requests/cancel", {"key": "none"}, page="/requests").status == 404
    assert operator.post("/requests/cancel", {"key": "theirs"}, page="/requests").status == 503
    assert operator.post("/messages/retry", {"agent": "nobody", "number": "1"}, page="/messages").status == 404
    assert operator.post("/messages/retry", {"agent": "dome", "number": "1"}, page="/messages").status == 503


class ForgetfulDome(Agent):
    """Fails at *Close* until something is repaired."""

    def __init__(self) -> None:
        super().__init__(Agent.DOME)
        self.repaired = False
        self.closed: list[Message] = []
        self.actions_by_message[messages.CLOSE] = self.close

    def close(self, message: Message) -> None:
        if not self.repaired:
            raise ValueError("the motor's fuse is blown")
        self.closed.append(message)


def test_a_failed_message_is_retried_from_its_page(console: RunningConsole) -> None:
    operator, dome, page = console.browser(Role.OPERATOR), ForgetfulDome(), "/messages?failed=yes"

    def failed() -> list[str]:
        lines = operator.get("/messages.json?failed=yes&agent=dome").json["messages"]
        return [line["error"] for line in lines]

    dome.start(console.config)
    try:
        assert operator.post("/devices/command", {"agent": "dome", "command": "Close"}, page="/devices").status == 303
        wait_until(lambda: failed() == ["ValueError: the motor's fuse is blown"], what="the failure")
        form = operator.get(page).body.partition('action="/messages/retry"')[2].partition("</form>")[0]
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
        assert operator.post("/messages/retry", fields, page=page).headers["location"] == page
        assert failed() == ["ValueError: the motor's fuse is blown"]  # it has failed again
        dome.repaired = True
        assert operator.post("/messages/retry", fields, page=page).status == 303
        wait_until(lambda: dome.closed, what="the message to be handled again")
        wait_until(lambda: failed() == [], what="no failed message to be left")
    finally:
        dome.stop()
    assert len(dome.closed) == 1


class CommandedDome(Agent):
    """Takes *Close* in place of the dome's agent."""

    def __init__(self) -> None:
        super().__init__(Agent.DOME)
        self.closed: list[Message] = []
        self.actions_by_message[messages.CLOSE] = self.closed.append


def test_an_operator_commands_a_device(console: RunningConsole) -> None:
    observer, operator = console.browser(Role.OBSERVER), console.browser(Role.OPERATOR)
    assert "/devices/command" not in observer.get("/devices").body
    assert 'value="Close"' in operator.get("/devices").body
    order = {"agent": "dome", "command": "Close"}
    assert operator.post("/devices/command", order, page="/devices").status == 503  # its agent doesn't run
    for wrong in ({"command": "Keep open"}, {"agent": "weather"}, {"agent": "nobody"}):
        assert operator.post("/devices/command", order | wrong, page="/devices").status == 404
    dome = CommandedDome()
    dome.start(console.config)
    try:
        refused = operator.post("/devices/command", order | {"command": "Open"}, page="/devices")
        assert refused.status == 409
        assert "Dome refuses Open: " in refused.body
        assert operator.post("/devices/command", order, page="/devices").status == 303
        wait_until(lambda: dome.closed, what="the command")
    finally:
        dome.stop()
    assert dome.closed[0].payload.reason == "operator@console"
    assert '"command device"' in "".join(file.read_text() for file in console.section.folder.glob("audit-*.jsonl"))


def test_an_operator_writes_down_what_is_known_of_a_device(console: RunningConsole) -> None:
    viewer, operator = console.browser(Role.VIEWER), console.browser(Role.OPERATOR)
    page = "/device?key=camera"
    assert 'href="/device?key=camera"' in viewer.get("/devices").body
    assert "Draws the stars" in viewer.get(page).body  # by the demo's fixture
    assert "/devices/describe" not in viewer.get(page).body
    facts = {"key": "camera", "maker": "Moravian <b>", "model": "C4", "serial": "17", "since": "2026-03-01",
             "notes": "shutter changed\r\nin May"}  # fmt: skip
    for wrong in ({"since": "yesterday"}, {"maker": "x" * 101}, {"notes": "x" * 4001}):
        assert operator.post("/devices/describe", facts | wrong, page=page).status == 400, wrong
    assert operator.post("/devices/describe", facts | {"key": "scheduler"}, page=page).status == 404
    assert operator.post("/devices/describe", facts, page=page).status == 303
    assert viewer.get("/device.json?key=camera").json["known"] == {
        "maker": "Moravian <b>", "model": "C4", "serial": "17", "since": "2026-03-01",
        "notes": "shutter changed\nin May",
    }  # fmt: skip
    shown = viewer.get(page).body
    assert "Moravian &lt;b&gt;" in shown
    assert "shutter changed<br>in May" in shown
    assert viewer.get("/device?key=nothing").status == viewer.get("/device").status == 404


def test_a_request_is_changed_and_what_the_form_lacks_stays(console: RunningConsole) -> None:
    asked = Observation(
        id="m31", target="M 31", ra=10.684708333, dec=41.26875, exposures=(Exposures("r", 60.0, 3, dither=5.0),),
        owner="observer", priority=7, proposal="P1", interruptible=False,
        windows=(Window(1e9, 1.1e9), Window(1.2e9, 9e9)),
    )  # fmt: skip
    alerts = msgspec.structs.replace(asked, id="alerts", alert="ivo://a/b#1", owner="")
    commit(console.config, "scheduler", SchedulerState(requests={"m31": asked, "alerts": alerts}))
    observer = console.browser(Role.OBSERVER)
    shown = observer.get("/request?key=m31").body
    form = shown.partition('action="/requests/change"')[2]
    fields = dict(re.findall(r'name="(\w+)"[^>]* value="([^"]*)"', form.partition("</form>")[0]))
    assert fields.pop("csrfmiddlewaretoken")
    assert fields.pop("check") == "yes"
    assert fields.items() >= {"key": "m31", "target": "M 31", "exposures": "r:60x3,dither=5", "priority": "7"}.items()
    assert "from" not in fields
    page = "/request?key=m31"
    assert "It can be made" in observer.post("/requests/change", fields | {"check": "yes"}, page=page).body
    wrong = observer.post("/requests/change", fields | {"dec": "+95", "priority": "x"}, page=page)
    assert (wrong.status, 'value="x"' in wrong.body) == (400, True)
    assert observer.post("/requests/change", fields, page=page).status == 503  # no scheduler runs here
    other = console.browser(Role.OBSERVER, "leavitt")
    assert "/requests/change" not in other.get(page).body
    assert other.post("/requests/change", fields, page="/requests").status == 409
    operator = console.browser(Role.OPERATOR)
    assert operator.post("/requests/change", fields | {"key": "alerts"}, page="/requests").status == 409
    assert operator.post("/requests/change", fields | {"key": "none"}, page="/requests").status == 404


def test_what_a_form_says_is_what_it_was_given() -> None:
    known = Observation(
        id="x", target="T", ra=10.684708333, dec=-41.26875, priority=7, min_altitude=12.5, reason="why",
        exposures=(Exposures("r", 60.25, 3), Exposures("i", 0.5, 1, 100.0, 2, 5.5, "fast")),
        windows=(Window(2e9, 2.1e9),),
    )  # fmt: skip
    given = {name: text for name, text in given_of(known).items() if text}
    reviewer = Reviewer(lambda _: NamedPosition("", 0.0, 0.0, ""), 1e9)
    found = reviewer.review(Draft("T", dict(given)))
    assert reviewer.problems == []
    assert found is not None
    assert amended(known, found, given_of(known)) == known
    assert amended(msgspec.structs.replace(known, target="U"), found, given_of(known)) == known
    assert not {"ra", "dec"} & set(given_of(msgspec.structs.replace(known, orbit=COMET)))


def test_a_request_that_has_ended_has_its_page_still(console: RunningConsole) -> None:
    line = NightLine(night="2026-03-20", observation="m33", target="M <33>", ra=23.46, dec=30.66, owner="observer",
                     fate="observed", ended=1.79e9, images=2)  # fmt: skip
    kept = [night_log.prepare, partial(night_log.write, lines=[line]), partial(night_log.write_fate, lines=[line])]
    commit(console.config, "scheduler", SchedulerState(), also=kept)
    viewer = console.browser(Role.VIEWER)
    assert 'href="/request?key=m33"' in viewer.get("/requests").body
    page = viewer.get("/request?key=m33").body
    for words in ("M &lt;33&gt;", "observed", "/images?observation=m33", "01:33:50 +30:39:36"):
        assert words in page, words
    assert "/requests/cancel" not in console.browser(Role.OPERATOR).get("/request?key=m33").body


def test_an_event_has_its_finding_chart(console: RunningConsole) -> None:
    written_events(console.config, 3)
    browser = console.browser(Role.VIEWER)
    assert "/event/chart?key=swift%3A3" in browser.get("/event?key=swift:3").body
    answer = browser.get("/event/chart?key=swift:3")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/svg+xml")
    stars = [each for each in ElementTree.fromstring(answer.body).iter() if each.tag.endswith("circle")]
    assert len(stars) > 3
    assert browser.get("/event/chart?key=swift:9000").status == 404
    assert console.browser().get("/event/chart?key=swift:3").status == 302
