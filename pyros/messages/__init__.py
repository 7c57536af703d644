"""The named messages that agents exchange, and what each carries.

Every name and every payload type of the standard agents stands in a module of its subject, and all of them here. A
payload that does not fit its name is refused where it arrives, with an error that names the field. An agent of one's
own may add its types with `register`; a name nobody registered carries any JSON object.

Some names are fleeting (`FLEETING`; decision 0065), for what is said again soon and means nothing when it is old:
*Weather reading*, *Safety reading*, *Weather safe*, *Keep open*, *Kept open* and *Telemetry*. They arrive at most once,
only where their receiver is there now, and no journal keeps them. All others arrive exactly once.

Angles are ICRS degrees, durations seconds, times seconds since 1970-01-01 UTC, unless a field says otherwise.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from pyros.messages._codec import (
    BULK,
    FLEETING,
    GUARDED,
    PATIENT,
    PAYLOADS,
    Message,
    decode_payload,
    encode_payload,
    guard,
    register,
    unproved,
)
from pyros.messages._payload import NoPayload, Payload, Target
from pyros.messages.accessories import *
from pyros.messages.alerts import *
from pyros.messages.calibrations import *
from pyros.messages.camera import *
from pyros.messages.dome import *
from pyros.messages.images import *
from pyros.messages.instruments import *
from pyros.messages.jobs import *
from pyros.messages.notices import *
from pyros.messages.observations import *
from pyros.messages.safety import *
from pyros.messages.telescope import *
from pyros.messages.weather import *

# fmt: off
__all__ = [
    "BULK", "FLEETING", "GUARDED", "Message", "NoPayload", "PATIENT", "PAYLOADS", "Payload", "Target", "decode_payload",
    "encode_payload", "guard", "register", "unproved",
    # alerts
    "AlertReceived", "AlertDecided", "TakenImage", "FollowUp", "Publish", "AlertSource",
    "LARGEST_PACKET", "ALERT_RECEIVED", "ALERT_DECIDED", "FOLLOW_UP", "PUBLISH", "ALERTS_SILENT", "ALERTS_HEARD",
    "RELOAD_RULES",
    "RELOAD_SITE",
    # observations
    "Exposures", "Orbit", "Constraints", "Window", "Cadence", "Observation", "FieldRequests", "Withdrawal",
    "PlannedObservation", "RefusedRequest", "Plan", "Abort", "ObservationReport",
    "OBSERVATION_REQUESTED", "OBSERVATION_REQUEST_CHANGED", "OBSERVATION_REQUEST_WITHDRAWN", "FIELDS_REQUESTED",
    "PLAN_UPDATED", "PLAN_AGAIN", "OBSERVE", "ABORT_OBSERVATION",
    "OBSERVATION_STARTED", "OBSERVATION_FINISHED", "OBSERVATION_FAILED",
    # instruments
    "Failure", "Order", "Reason", "InstrumentConnection", "Telemetry", "DeviceState",
    "ABORT", "INSTRUMENT_CONNECTED", "INSTRUMENT_DISCONNECTED", "TELEMETRY", "TELL_STATE",
    "DEVICE_STATE",
    # telescope
    "Slew", "SlewStarted", "SlewFinished", "TrackingLost", "PointingMeasured",
    "SLEW", "SLEW_STARTED", "SLEW_FINISHED", "SLEW_FAILED", "TRACKING_LOST", "PARK", "PARK_FINISHED", "PARK_FAILED",
    "POINTING_MEASURED",
    # camera
    "Expose", "ExposureStarted", "ExposureFinished", "Level", "StarSizes", "Cool", "CoolingReport",
    "EXPOSE", "EXPOSURE_STARTED", "EXPOSURE_FINISHED", "EXPOSURE_FAILED", "COOL", "COOLING_SET",
    "COOLING_FINISHED", "COOLING_FAILED",
    # calibrations
    "CalibrationAbort", "CalibrationOrder", "CalibrationReport", "FocusPoint", "FocusReached", "FrameSet",
    "CALIBRATE", "ABORT_CALIBRATION", "CALIBRATION_STARTED", "CALIBRATION_FINISHED", "CALIBRATION_FAILED",
    # dome
    "KeepOpen", "Follow", "DomeFailure", "SlitInPlace",
    "OPEN", "CLOSE", "KEEP_OPEN", "DOME_OPENED", "DOME_CLOSED", "DOME_FAILED", "FOLLOW", "SLIT_IN_PLACE", "SLIT_FAILED",
    # accessories
    "SelectFilter", "FilterSelected", "FiltersKnown", "MoveFocus", "FocusMoved", "FocuserTemperature", "SetSwitch",
    "SELECT_FILTER", "FILTER_SELECTED", "FILTERS_KNOWN", "FILTER_FAILED", "MOVE_FOCUS", "FOCUS_MOVED", "FOCUS_FAILED",
    "FOCUSER_TEMPERATURE",
    "SET_SWITCH",
    "SWITCH_SET", "SWITCH_FAILED",
    # weather
    "WeatherReading", "WeatherState", "SafetyReading", "PowerReading",
    "WEATHER_READING", "WEATHER_SAFE", "WEATHER_UNSAFE", "SAFETY_READING", "POWER_READING",
    # safety
    "HoldOrder", "ReleaseOrder", "ServiceOrder", "AlarmRaised", "AlarmEnded", "DomeReport",
    "HOLD", "RELEASE", "STOP", "SERVICE", "ALARM", "ALARM_OVER", "TELL_ALARM", "TELL_ALARM_OVER", "KEPT_OPEN",
    # images
    "ImageTaken", "ImageAnalysed", "SourceFound",
    "IMAGE_TAKEN", "IMAGE_ANALYSED", "SOURCE_FOUND",
    # jobs
    "JobRequest", "JobRevoked", "JobsCleaned", "JobFinished", "JobProgressed",
    "JOB_REQUESTED", "JOB_REVOKED", "JOBS_CLEANED", "JOB_FINISHED", "JOB_PROGRESSED",
    # notices
    "NightReported", "NoteRaised", "NoteEnded", "NoticeAcknowledged", "NoticeTest",
    "NIGHT_REPORTED", "NOTE", "NOTE_OVER", "NOTICE_ACKNOWLEDGED", "NOTICE_TEST",
]
# fmt: on

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")  # also those of kinds of instruments, whose names stay in their modules
