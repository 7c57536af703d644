"""What the OCS dialect's portal and archive answer, as functions: the console mounts each as the URL that it names.

A group has one request here, with the group's number; the observation's id is ``ocs-NUMBER``. Each function returns
what is sent as JSON; of those that may refuse, (HTTP status, JSON). Nothing here changes the observatory but `submit`
and `cancel`, which wait for the scheduler's commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyros import messages
from pyros.errors import JournalError
from pyros.imagery.index import MAX_LIMIT, FoundImage, ImageIndexReader, ImageQuery, index_file
from pyros.messages import Observation, Withdrawal
from pyros.ocs.request_group import EXPOSE, INSTRUMENT, READOUT, TELESCOPE_CLASS, Errors, read_group
from pyros.planning import night_log
from pyros.planning.night_log import NightLine
from pyros.planning.problem import Overheads
from pyros.sender import Sender
from pyros.views.observed import Observed
from pyros.views.states import Monitoring, SeenScheduler

PREFIX = "ocs-"
_SLEW_SECONDS = 60.0
_STATES = {
    "": "PENDING", "observing": "PENDING", "interrupted": "PENDING", "observed": "COMPLETED", "withdrawn": "CANCELED",
    "expired": "WINDOW_EXPIRED", "failed": "FAILURE_LIMIT_REACHED",
}  # fmt: skip
_BLOCKS = {
    "": "PENDING", "observing": "IN_PROGRESS", "interrupted": "ABORTED", "observed": "COMPLETED",
    "withdrawn": "CANCELED", "expired": "NOT_ATTEMPTED", "failed": "FAILED",
}  # fmt: skip
NOT_FOUND: tuple[int, Errors] = (404, {"detail": "Not found."})

Answer = tuple[int, Any]


def instruments(observed: Observed) -> dict[str, Any]:
    """``GET /api/instruments/``: the camera, with the filters that the wheel has told of."""
    filters = _filters(observed)
    return {
        INSTRUMENT: {
            "type": "IMAGE",
            "class": TELESCOPE_CLASS,
            "name": f"{observed.config.name} camera",
            "optical_elements": {"filters": [
                {"name": name, "code": name, "schedulable": True, "default": number == 0}
                for number, name in enumerate(filters)
            ]},
            "modes": {
                "readout": {"type": "readout", "default": READOUT,
                            "modes": [{"name": READOUT, "code": READOUT, "overhead": Overheads().readout}]},
                "guiding": {"type": "guiding", "default": "OFF", "modes": [{"name": "Off", "code": "OFF"}]},
            },
            "configuration_types": {EXPOSE: {"name": "Exposure", "code": EXPOSE, "schedulable": True}},
            "default_configuration_type": EXPOSE,
        }
    }  # fmt: skip


def profile(observed: Observed, name: str, proposals: Sequence[str] = ()) -> dict[str, Any]:
    """``GET /api/profile/``: who asks, and the proposals they may name; the observatory's own where there are none."""
    ids = list(dict.fromkeys(proposals)) or [observed.config.name]
    return {"username": name, "proposals": [{"id": each, "title": each, "current": True} for each in ids]}


def validate(observed: Observed, payload: Any, owner: str) -> dict[str, Any]:
    """``POST /api/requestgroups/validate/``: how long it takes, or what is wrong with it. Changes nothing."""
    request, errors = _read(observed, payload, owner, 0)
    if request is None:
        return {"request_durations": {}, "errors": errors}
    seconds = _seconds(request)
    return {"request_durations": {"duration": seconds, "requests": [{"duration": seconds}]}, "errors": {}}


def submit(observed: Observed, payload: Any, owner: str, *, seconds: float = 10.0) -> Answer:
    """``POST /api/requestgroups/``: 201 when the scheduler has committed it, 400 with what is wrong.

    Raises DeliveryError when the scheduler does not answer within ``seconds``.
    """
    number = _new_number(observed)
    request, errors = _read(observed, payload, owner, number)
    if request is None:
        return 400, errors
    Sender.send_to("scheduler", messages.OBSERVATION_REQUESTED, request, config=observed.config, timeout=seconds)
    return 201, _group(number, "PENDING", request)


def groups(observed: Observed, request_id: str) -> dict[str, Any]:
    """``GET /api/requestgroups?request_id=``: the group that a request is in."""
    status, group = group_of(observed, request_id)
    results = [group] if status == 200 else []
    return {"count": len(results), "next": None, "previous": None, "results": results}


def group_of(observed: Observed, group_id: str) -> Answer:
    """``GET /api/requestgroups/{id}/``."""
    number, state = _known(observed, group_id)
    if state is None:
        return NOT_FOUND
    return 200, _group(number, state, observed.state("scheduler", SeenScheduler).requests.get(f"{PREFIX}{number}"))


def owner_of(observed: Observed, group_id: str) -> str | None:
    """Return who has asked for a request that waits; None for one that doesn't."""
    number = _number(group_id)
    request = observed.state("scheduler", SeenScheduler).requests.get(f"{PREFIX}{number}")
    return request.owner if request is not None else None


def cancel(observed: Observed, group_id: str, who: str, *, seconds: float = 10.0) -> Answer:
    """``POST /api/requestgroups/{id}/cancel/``: withdraws it; 400 for what has ended already.

    Raises DeliveryError when the scheduler does not answer within ``seconds``.
    """
    number, state = _known(observed, group_id)
    if state is None:
        return NOT_FOUND
    if state not in ("PENDING", "CANCELED"):
        return 400, {"errors": [f"This request group is {state}, and can't be cancelled any more."]}
    if state == "PENDING":
        order = Withdrawal(observation=f"{PREFIX}{number}", reason=f"cancelled by {who}")
        Sender.send_to(
            "scheduler", messages.OBSERVATION_REQUEST_WITHDRAWN, order, config=observed.config, timeout=seconds
        )
    return 200, _group(number, "CANCELED", None)


def request_of(observed: Observed, request_id: str) -> Answer:
    """``GET /api/requests/{id}``: how it stands."""
    number, state = _known(observed, request_id)
    return NOT_FOUND if state is None else (200, _request(number, state, None))


def observations(observed: Observed, request_id: str) -> Answer:
    """``GET /api/requests/{id}/observations/``: a block for each night, the last one first."""
    number, state = _known(observed, request_id)
    if state is None:
        return NOT_FOUND
    site = _site_code(observed)
    return 200, [
        {
            "id": f"{number}-{line.night}", "request": number, "state": _BLOCKS[line.fate], "site": site,
            "enclosure": "dome", "telescope": TELESCOPE_CLASS,
            "start": _instant(line.begins),
            "end": _instant(line.ended if line.ended is not None else line.end),
        }
        for line in _lines(observed, number)
        if line.begins is not None
    ]  # fmt: skip


def telescope_states(observed: Observed) -> dict[str, Any]:
    """``GET /api/telescope_states/``: whether it may observe, and why not."""
    hold, monitoring = observed.holds.hold, observed.state("monitoring", Monitoring)
    event, reason = "AVAILABLE", "Available for scheduling"
    if hold is not None:
        event, reason = "ENCLOSURE_INTERLOCK", str(hold)
    elif not monitoring.safe:
        reasons = [each.reason for each in monitoring.broken.values() if each.good_since is None]
        event, reason = "NOT_OK_TO_OPEN", "; ".join(reasons) or "it is not known to be safe"
    key = f"{_site_code(observed)}.dome.{TELESCOPE_CLASS}"
    now = _instant(observed.time())
    return {key: [{"telescope": key, "event_type": event, "event_reason": reason, "start": now, "end": now}]}


def frames(observed: Observed, query: Mapping[str, str], base: str) -> Answer:
    """``GET /frames/?REQNUM=&limit=``: the images of a request; ``next`` is the following page's URL.

    ``base`` is the archive's own address, such as ``https://console.example.org``; an image is downloaded at
    ``BASE/frames/ID/download``. A field of the query that isn't known is refused.
    """
    known = ("REQNUM", "limit", "after")
    if unknown := [each for each in query if each not in known]:
        return 400, {unknown[0][:100]: ["This filter can't be honoured here."]}
    number, limit = _number(query.get("REQNUM", "")), query.get("limit", "100")
    if number is None:
        return 400, {"REQNUM": ["A request's number is required."]}
    if not limit.isascii() or not limit.isdigit() or not 0 < int(limit[:9]) <= MAX_LIMIT:
        return 400, {"limit": [f"A number from 1 to {MAX_LIMIT} is required."]}
    asked = ImageQuery(observation=f"{PREFIX}{number}", limit=int(limit), after=query.get("after", ""))
    try:
        with closing(ImageIndexReader(index_file(observed.config))) as reader:
            page = reader.find(asked)
    except JournalError:
        return 200, {"count": 0, "next": None, "previous": None, "results": []}
    except ValueError as error:
        return 400, {"after": [str(error)]}
    following = f"{base}/frames/?REQNUM={number}&limit={limit}&after={page.next}" if page.next else None
    found = [_frame(image, number, base) for image in page.images]
    return 200, {"count": len(found), "next": following, "previous": None, "results": found}


def frame(observed: Observed, frame_id: str, base: str) -> Answer:
    """``GET /frames/{id}/``: one image."""
    path, image = _image(observed, frame_id)
    if path is None or image is None:
        return NOT_FOUND
    return 200, _frame(image, _number(image.record.observation.removeprefix(PREFIX)), base)


def frame_file(observed: Observed, frame_id: str) -> Path | None:
    """``GET /frames/{id}/download``: the FITS file, None where there is none. It is one that the index names."""
    return _image(observed, frame_id)[0]


# ---------------------------------------------------------------------------------------------------------------------


def _read(observed: Observed, payload: Any, owner: str, number: int) -> tuple[Observation | None, Errors]:
    taken = observed.state("scheduler", SeenScheduler).requests
    how: dict[str, Any] = {"number": number, "owner": owner, "now": observed.time(), "filters": _filters(observed)}
    return read_group(payload, **how, taken=tuple(taken))


def _filters(observed: Observed) -> tuple[str, ...]:
    known = observed.state("scheduler", SeenScheduler).filters
    return known.filters if known is not None else ()


def _new_number(observed: Observed) -> int:
    """Return a number that no request has: the time in milliseconds, or the next free one."""
    taken = observed.state("scheduler", SeenScheduler).requests
    number = int(observed.time() * 1000)
    while f"{PREFIX}{number}" in taken or _lines(observed, number):
        number += 1
    return number


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _lines(observed: Observed, number: int) -> list[NightLine]:
    with observed.journal("scheduler") as journal:
        return night_log.of_observation(journal, f"{PREFIX}{number}") if journal is not None else []
    return []  # the journal could not be read


def _known(observed: Observed, text: str) -> tuple[int, str | None]:
    """Return a request's number and state; no state for one that isn't known."""
    number = _number(text)
    if number is None:
        return 0, None
    if f"{PREFIX}{number}" in observed.state("scheduler", SeenScheduler).requests:
        return number, "PENDING"
    lines = _lines(observed, number)
    return number, _STATES[lines[0].fate] if lines else None


def _group(number: int, state: str, request: Observation | None) -> dict[str, Any]:
    named = {} if request is None else {
        "name": request.reason, "proposal": request.proposal, "submitter": request.owner,
        "created": _instant(request.requested),
    }  # fmt: skip
    return {"id": number, "state": state, "operator": "SINGLE", "requests": [_request(number, state, request)]} | named


def _request(number: int, state: str, request: Observation | None) -> dict[str, Any]:
    return {"id": number, "state": state} | ({} if request is None else {"duration": _seconds(request)})


def _seconds(request: Observation) -> int:
    return round(_SLEW_SECONDS + Overheads().observation_seconds(request))


def _site_code(observed: Observed) -> str:
    letters = "".join(each for each in observed.config.name.lower() if each.isascii() and each.isalnum())
    return letters or "site"


def _image(observed: Observed, frame_id: str) -> tuple[Path | None, FoundImage | None]:
    number = _number(frame_id)
    if number is None:
        return None, None
    try:
        with closing(ImageIndexReader(index_file(observed.config))) as reader:
            record = reader.get(number)
    except JournalError:
        record = None
    path = Path(record.path) if record is not None else None
    if record is None or path is None or not path.is_file():
        return None, None
    return path, FoundImage(number, record)


def _frame(image: FoundImage, number: int | None, base: str) -> dict[str, Any]:
    it = image.record
    name = Path(it.path).name
    return {
        "id": image.number, "filename": name, "basename": name.partition(".")[0],
        "url": f"{base}/frames/{image.number}/download", "DATE_OBS": _instant(it.started), "REQNUM": number,
        "OBJECT": it.object, "FILTER": it.filter, "EXPTIME": it.seconds, "OBSTYPE": EXPOSE, "RLEVEL": 0,
        "INSTRUME": it.instrument, "next": None,
    }  # fmt: skip


def _instant(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
