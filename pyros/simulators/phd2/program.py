"""A simulated guider as PHD2: JSON-RPC requests and events, a line each, as its ``event_server.cpp`` has them.

What it knows of PHD2's methods is what a program that observes needs; the others it does not find.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pyros.simulators.device import Refused
from pyros.simulators.devices.guider import SimulatedGuider
from pyros.simulators.faults import Faults
from pyros.simulators.grammar import DeviceRequest

MAX_REQUEST = 1024
"""Bytes of a request, as PHD2 takes them."""
VERSION, SUBVERSION = "2.6.13", ""
_STATES = {
    "idle": "Stopped", "calibrating": "Calibrating", "guiding": "Guiding", "paused": "Paused", "lost": "LostLock",
}  # fmt: skip
_MEANINGS = {
    "guide": ("DO", "guide"), "dither": ("DO", "dither"), "stop_capture": ("DO", "stop"), "set_paused": ("DO", "pause"),
    "get_app_state": ("GET", "state"),
}  # fmt: skip
"""The requests of the native grammar that mean the same: faults name those."""
_PARSE_ERROR, _INVALID_REQUEST, _NOT_FOUND, _INVALID_PARAMS = -32700, -32600, -32601, -32602


class _RpcError(Exception):
    """A request that PHD2 answers with an error; it never leaves this file."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Phd2LineParser:
    """Cuts a stream of bytes into lines; one that is too long becomes a line that is no JSON."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[: MAX_REQUEST + 1]
        return [line[: MAX_REQUEST + 1].decode("latin-1").strip() for line in lines if line.strip()]


class Phd2Program:
    """One guider, many clients. ``say`` tells all of them something."""

    end = b"\n"

    def __init__(self, guider: SimulatedGuider) -> None:
        self.say: Callable[[str], None] = lambda _: None
        self.connected = True
        """Whether PHD2 is connected to its camera and mount."""
        self._guider = guider
        guider.listeners.append(self._heard)

    @property
    def faults(self) -> Faults:
        """Those of the guider."""
        return self._guider.faults

    def parser(self) -> Phd2LineParser:
        """Make the parser of a new client."""
        return Phd2LineParser()

    def greeting(self) -> str:
        """Return the events that tell a new client how things stand."""
        version = {"PHDVersion": VERSION, "PHDSubver": SUBVERSION, "OverlapSupport": True, "MsgVersion": 1}
        told = [self._event("Version", **version)]
        if self._guider.calibrated:
            told.append(self._event("CalibrationComplete", Mount="On Camera"))
        also = {"guiding": "StartGuiding", "calibrating": "StartCalibration", "paused": "Paused"}.get(self._state)
        if also is not None:
            told.append(self._event(also))
        return "".join([*told, self._event("AppState", State=_STATES[self._state])])

    def meaning(self, command: str) -> DeviceRequest:
        """Return the native request that a line means; one without a name where there is none."""
        try:
            method = json.loads(command)["method"]
        except (ValueError, KeyError, TypeError, RecursionError):
            method = ""
        verb, name = _MEANINGS.get(method, ("GET", "")) if isinstance(method, str) else ("GET", "")
        return DeviceRequest(command, "", verb, name)

    def answer(self, command: str) -> str:
        """Do what is asked, and return the answer; nothing to a request without a number."""
        number: Any = 0
        try:
            request = self._request(command)
            number = request.get("id")
            self._guider.refuse_by_fault(self.meaning(command))
            answer = {"result": self._do(request["method"], request.get("params"))}
        except (_RpcError, Refused) as wrong:
            code = wrong.code if isinstance(wrong, _RpcError) else 1
            answer = {"error": {"code": code, "message": str(wrong)}}
        return "" if number is None else _line({"jsonrpc": "2.0", **answer, "id": number})

    def _request(self, command: str) -> dict[str, Any]:
        try:
            request = json.loads(command)
        except (ValueError, RecursionError):
            raise _RpcError(_PARSE_ERROR, "invalid JSON request") from None
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            raise _RpcError(_INVALID_REQUEST, "invalid request - missing method")
        if not isinstance(request.get("params", []), list | dict):
            raise _RpcError(_INVALID_REQUEST, "invalid request - params must be an array or object")
        return request

    @property
    def _state(self) -> str:
        return self._guider.state

    def _do(self, method: str, params: Any) -> Any:
        told = {
            "get_app_state": _STATES[self._state],
            "get_connected": self.connected,
            "get_calibrated": self._guider.calibrated,
            "get_paused": self._state == "paused",
            "get_settling": self._guider.settling,
            "get_pixel_scale": self._guider.settings.arcsec_per_pixel,
        }
        if method in told:
            return told[method]
        match method:
            case "set_connected":
                self.connected = _flag(params, "connected")
            case "stop_capture":
                self._guider.rest()
            case "set_paused":
                self._pause(_flag(params, "paused"))
            case "guide":
                self._guide(params)
            case "dither":
                self._dither(params)
            case _:
                raise _RpcError(_NOT_FOUND, "method not found")
        return 0

    def _pause(self, on: bool) -> None:
        if on and self._state == "guiding":
            self._guider.pause()
        elif not on and self._state == "paused":
            self._guider.resume()
            self._say("Resumed")

    def _guide(self, params: Any) -> None:
        settle = self._settle(_param(params, 0, "settle"))
        self._refuse_while_settling("guide")
        if not self.connected:
            raise _RpcError(1, "all equipment must be connected first")
        if self._state == "idle" and not self._guider.calibrated:
            self._say("StartCalibration", Mount="On Camera")
        self._guider.guide(*settle)

    def _dither(self, params: Any) -> None:
        amount = _param(params, 0, "amount")
        if isinstance(amount, bool) or not isinstance(amount, int | float):
            raise _RpcError(_INVALID_PARAMS, "expected dither amount param")
        settle = self._settle(_param(params, 2, "settle"))
        self._refuse_while_settling("dither")
        if self._state != "guiding":
            raise _RpcError(1, "Dither error")
        self._guider.dither(*settle, by=abs(amount) * self._guider.settings.arcsec_per_pixel)
        self._say("GuidingDithered", dx=amount, dy=amount)
        self._say("SettleBegin")

    def _refuse_while_settling(self, what: str) -> None:
        if self._guider.settling:
            raise _RpcError(1, f"Cannot initiate {what} while guide is in progress")

    def _settle(self, params: Any) -> tuple[float, float, float]:
        """Return arcseconds, seconds and the time-out of a settle object."""
        if not isinstance(params, dict):
            raise _RpcError(_INVALID_PARAMS, "expected settle object param")
        numbers = [params.get(key) for key in ("pixels", "time", "timeout")]
        if any(isinstance(each, bool) or not isinstance(each, int | float) for each in numbers):
            raise _RpcError(_INVALID_PARAMS, "invalid settle params")
        pixels, seconds, timeout = (float(each) for each in numbers if each is not None)
        return pixels * self._guider.settings.arcsec_per_pixel, int(seconds), int(timeout)

    def _heard(self, name: str, named: dict[str, Any]) -> None:
        match name:
            case "guiding_began":
                self._say("CalibrationComplete", Mount="On Camera")
                self._say("StartGuiding")
                self._say("SettleBegin")
            case "step" if named["seen"]:
                scale = self._guider.settings.arcsec_per_pixel
                off = {"dx": round(self._guider.x / scale, 3), "dy": round(self._guider.y / scale, 3)}
                self._say("GuideStep", Frame=self._guider.frame, Mount="On Camera", **off, StarMass=9000, SNR=30.0)
            case "step":
                self._say("StarLost", Frame=self._guider.frame, StarMass=0, SNR=0.0, Status="Star lost - low SNR")
            case "settled":
                self._say("SettleDone", Status=0, TotalFrames=self._guider.frame, DroppedFrames=0)
            case "settle_failed":
                self._say("SettleDone", Status=1, Error=named["reason"], TotalFrames=0, DroppedFrames=0)
            case "settle_aborted":
                self._say("SettleDone", Status=1, Error="Guiding stopped", TotalFrames=0, DroppedFrames=0)
            case "guiding_stopped":
                self._say("GuidingStopped")
                self._say("LoopingExposuresStopped")
            case "paused":
                self._say("Paused")

    def _say(self, event: str, **values: object) -> None:
        self.say(self._event(event, **values))

    def _event(self, event: str, **values: object) -> str:
        now = round(self._guider.clock.time(), 3)
        return _line({"Event": event, "Timestamp": now, "Host": "simulator", "Inst": 1, **values})


def _line(said: dict[str, Any]) -> str:
    return json.dumps(said) + "\r\n"


def _param(params: Any, index: int, name: str) -> Any:
    """Return a parameter by its place or its name; None for none."""
    if isinstance(params, list):
        return params[index] if index < len(params) else None
    return params.get(name) if isinstance(params, dict) else None


def _flag(params: Any, name: str) -> bool:
    value = _param(params, 0, name)
    if not isinstance(value, bool | int):
        raise _RpcError(_INVALID_PARAMS, f"expected {name} boolean param")
    return bool(value)
