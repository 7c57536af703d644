"""Ekos's schedules (``.esl``) with their sequences (``.esq``), as KStars writes them.

Each scheduler's job is a target with constraints; the frames are in the sequence file that it names. What PYROS does by
itself (focus, alignment, guiding, cooling, calibrations) is left out with a note; what it cannot do is a problem.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from lxml import etree

from pyros.files import read_bytes
from pyros.planning.intake.draft import Draft, Drafts

_LARGEST = 1_000_000
"""Bytes of a file."""
_LOWEST_PRIORITY = 20
"""Ekos's: 1 is the highest; newer versions have none, but the jobs' order."""
_BARE_AMPERSAND = re.compile(rb"&(?!#?\w+;)")
_NOT_OURS = ("Dark", "Bias", "Flat")
_MAX_EXPOSURES = 100


def read_ekos(path: Path, zone: ZoneInfo | None = None, filter_name: str = "") -> Drafts:
    """Read a schedule.

    ``zone`` is that of Ekos's times, which say none; ``filter_name`` is for sequences without a filter.
    """
    found = Drafts()
    root = _parse(path, "SchedulerList", found)
    if root is None:
        return found
    sequences: dict[Path, tuple[list[dict[str, Any]], list[str]] | None] = {}
    for number, job in enumerate(root.findall("Job"), 1):
        draft = Draft(f"{path}: line {job.sourceline} ({_text(job, 'Name') or f'job {number}'})", {})
        lead = job.find("JobType")
        if lead is not None and lead.get("lead") == "false":
            found.problems.append(draft.problem("JobType", "follows another camera; PYROS has one: leave this job out"))
            continue
        before = len(found.problems)
        _read_job(job, draft, zone, found)
        file = _sequence_file(path, job)
        if file is None:
            named = _text(job, "Sequence")
            found.problems.append(draft.problem("Sequence", f"{named!r} is not there, nor beside {path.name}"))
            continue
        if file not in sequences:
            sequences[file] = _read_sequence(file, filter_name, found)
        sequence = sequences[file]
        if sequence is None or len(found.problems) > before:
            continue
        frames, notes = sequence
        repeats = draft.values.pop("repeats", 1)
        if len(frames) * repeats > _MAX_EXPOSURES and len(frames) > 1:
            text = f"{repeats} times {len(frames)} lines of {file.name} are more than {_MAX_EXPOSURES}"
            found.problems.append(draft.problem("CompletionCondition", text))
            continue
        if len(frames) == 1:
            draft.values["exposures"] = [frames[0] | {"count": frames[0]["count"] * repeats}]
        else:
            draft.values["exposures"] = frames * repeats
        draft.notes += notes
        found.drafts.append(draft)
    if not root.findall("Job"):
        found.problems.append(f"{path}: has no Job")
    return found


def _read_job(job: etree._Element, draft: Draft, zone: ZoneInfo | None, found: Drafts) -> None:
    values = draft.values
    draft.words = {"target": "Name", "ra": "J2000RA", "dec": "J2000DE", "min_altitude": "MinimumAltitude",
                   "moon_distance": "MoonSeparation", "seconds": "Exposure", "filter": "Filter",
                   "count": "Count", "binning": "Binning", "from": "StartupCondition",
                   "until": "CompletionCondition"}  # fmt: skip
    values["target"] = _text(job, "Name")
    try:
        values["ra"] = float(_text(job, "Coordinates/J2000RA")) * 15
        values["dec"] = float(_text(job, "Coordinates/J2000DE"))
    except ValueError:
        text = "J2000RA must be a number of hours, J2000DE one of degrees"
        found.problems.append(draft.problem("Coordinates", text))
    if (priority := _text(job, "Priority")).isdigit():
        values["priority"] = max(0, _LOWEST_PRIORITY + 1 - int(priority))
    _read_constraints(job, draft, found)
    rotation = _text(job, "PositionAngle")
    if rotation and rotation not in ("-1", "0"):
        draft.notes.append(f"the position angle of {rotation}° is left out: PYROS turns no rotator for an observation")
    _read_conditions(job, draft, zone, found)


def _read_constraints(job: etree._Element, draft: Draft, found: Drafts) -> None:
    values = draft.values
    for constraint in job.findall("Constraints/Constraint"):
        name = (constraint.text or "").strip()
        if name == "MinimumAltitude":
            values["min_altitude"] = constraint.get("value", "")
        elif name == "MoonSeparation":
            values["moon_distance"] = constraint.get("value", "")
        elif name not in ("EnforceWeather", "EnforceTwilight", "EnforceArtificialHorizon"):
            found.problems.append(draft.problem("Constraint", f"{name!r} is not known"))


def _read_conditions(job: etree._Element, draft: Draft, zone: ZoneInfo | None, found: Drafts) -> None:
    """Read when the job may begin, and when it ends or how often it is repeated."""
    values = draft.values
    for key, condition in (("from", job.find("StartupCondition/Condition")),
                           ("until", job.find("CompletionCondition/Condition"))):  # fmt: skip
        name = "" if condition is None else (condition.text or "").strip()
        value = "" if condition is None else condition.get("value", "")
        if name == "At":
            try:
                values[key] = _moment(value, zone)
            except ValueError as error:
                found.problems.append(draft.problem(key, str(error)))
        elif key == "until" and name == "Loop":
            text = "Loop has no end; say how often it is wanted (Repeat), or until when (At)"
            found.problems.append(draft.problem(key, text))
        elif key == "until" and name == "Repeat":
            if not value.isdigit() or int(value) < 1:
                found.problems.append(draft.problem(key, f"Repeat needs a number of times, not {value!r}"))
            else:
                values["repeats"] = int(value)


def _moment(text: str, zone: ZoneInfo | None) -> str:
    """Return Ekos's time as one with a zone; raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"must be a time such as 2026-12-01T22:30:00, not {text!r}") from None
    if moment.tzinfo is None and zone is None:
        raise ValueError(f"{text} is in Ekos's local time; say which with --timezone, such as Europe/Paris")
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).isoformat()


def _sequence_file(path: Path, job: etree._Element) -> Path | None:
    """Return the sequence file that a job names: where it says, or beside the schedule."""
    named = _text(job, "Sequence")
    if not named:
        return None
    file = Path(unquote(urlsplit(named).path)) if named.startswith("file:") else Path(named)
    beside = path.with_name(file.name)
    return file if file.is_absolute() and file.is_file() else beside if beside.is_file() else None


def _read_sequence(path: Path, filter_name: str, found: Drafts) -> tuple[list[dict[str, Any]], list[str]] | None:
    """Return the light frames of a sequence and notes about what is left out; None when there are problems."""
    before = len(found.problems)
    root = _parse(path, "SequenceQueue", found)
    if root is None:
        return None
    frames: list[dict[str, Any]] = []
    notes: list[str] = []
    for number, job in enumerate(root.findall("Job"), 1):
        where = f"{path}: line {job.sourceline} (job {number})"
        kind = _text(job, "Type") or "Light"
        if kind in _NOT_OURS:
            notes.append(f"{path.name}: {kind} frames are left out: the observatory takes its own calibrations")
            continue
        if kind != "Light":
            found.problems.append(f"{where} Type: {kind!r} frames are not known here")
            continue
        frames.append(_read_frame(path, job, where, filter_name, found, notes))
    if not frames and len(found.problems) == before:
        found.problems.append(f"{path}: has no Light frames")
    return (frames, list(dict.fromkeys(notes))) if len(found.problems) == before else None


def _read_frame(
    path: Path, job: etree._Element, where: str, filter_name: str, found: Drafts, notes: list[str]
) -> dict[str, Any]:
    """Return one entry of ``exposures``."""
    frame: dict[str, Any] = {"filter": _text(job, "Filter") or filter_name, "seconds": _text(job, "Exposure")}
    try:
        frame["count"] = int(_text(job, "Count") or "1")
    except ValueError:
        found.problems.append(f"{where} Count: must be a whole number, not {_text(job, 'Count')!r}")
    x, y = _text(job, "Binning/X") or "1", _text(job, "Binning/Y") or "1"
    if x != y:
        found.problems.append(f"{where} Binning: {x} by {y} pixels; it must be the same both ways")
    elif x != "1":
        frame["binning"] = x
    if _text(job, "Frame/X") not in ("", "0") or _text(job, "Frame/Y") not in ("", "0"):
        found.problems.append(f"{where} Frame: a part of the detector; PYROS reads all of it")
    for vector in job.findall("Properties/PropertyVector"):
        name = vector.get("name", "")
        for element in vector.findall("OneElement"):
            if element.get("name", "").lower() == "gain" and name in ("CCD_GAIN", "CCD_CONTROLS"):
                frame["gain"] = (element.text or "").strip()
            else:
                notes.append(f"{path.name}: {name} {element.get('name', '')} is left out")
    if _text(job, "GuideDitherPerJob") not in ("", "0", "-1"):
        notes.append(f"{path.name}: dithering is left out; say dither in arcseconds in a file of ours")
    if _text(job, "Delay") not in ("", "0"):
        notes.append(f"{path.name}: delays between frames are left out")
    return frame


def _parse(path: Path, root_name: str, found: Drafts) -> etree._Element | None:
    try:
        content = _BARE_AMPERSAND.sub(b"&amp;", read_bytes(path, _LARGEST))  # KStars writes file names as they are
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        root = etree.fromstring(content, parser)
    except ValueError as error:
        found.problems.append(f"{path}: {error}")
    except etree.XMLSyntaxError as error:
        found.problems.append(f"{path}: line {error.lineno}: is not XML: {error.msg}")
    else:
        if root.tag == root_name:
            return root
        found.problems.append(f"{path}: is a {root.tag}, not a {root_name} of Ekos")
    return None


def _text(element: etree._Element, path: str) -> str:
    return (element.findtext(path) or "").strip()
