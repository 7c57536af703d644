"""The figures for Prometheus: text of its exposition format, made from views and the checks' last report.

Names and units follow Prometheus' rules (https://prometheus.io/docs/practices/naming/): base units, a ``_total`` for
what only grows. No label has an event's name, an identifier or a text: their number would have no bound. Needs
prometheus-client, of the extra [console].
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pyros import __version__
from pyros.errors import ConfigError, JournalError
from pyros.health.figures import Figures
from pyros.health.report import Report, Verdict
from pyros.jobs.ledger import LedgerReader
from pyros.jobs.names import queues
from pyros.messages import WeatherReading
from pyros.views import Observed
from pyros.views.devices import devices
from pyros.views.night import DomeView, several, state
from pyros.views.states import Monitoring

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MAX_LABELS = 200
"""Values of one label, at most."""


def metrics_text(observed: Observed, report: Report | None = None, figures: Figures | None = None) -> bytes:
    """Return what ``/metrics`` answers. Any thread; a few milliseconds, and ``figures`` what they need to catch up.

    ``report`` adds each check's status; ``figures`` what is counted from the journals' messages, from when they were
    made. Raises ConfigError where prometheus-client isn't installed.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415  the extra [console]
        from prometheus_client.registry import Collector  # noqa: PLC0415
    except ImportError:
        raise ConfigError(["metrics need: pip install 'pyros-observatory[console]'"]) from None

    class Once(Collector):
        def collect(self) -> Iterable[Any]:
            yield from _families(observed, report)
            if figures is not None:
                yield from figures.families()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    return generate_latest(registry)


def _families(observed: Observed, report: Report | None) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415

    def gauge(name: str, text: str, rows: Iterable[tuple[tuple[str, ...], float | None]], *labels: str) -> Any:
        family = GaugeMetricFamily(f"pyros_{name}", text, labels=labels)
        for values, value in list(rows)[:_MAX_LABELS]:
            if value is not None:
                family.add_metric(values, value)
        return family

    nights = {each.config.unit: state(each) for each in observed.telescopes}
    night = several(observed, nights)
    monitorings = [each.state("monitoring", Monitoring) for each in observed.telescopes or (observed,)]

    def each_gauge(name: str, text: str, values: Iterable[float | None]) -> Any:
        """Return what each of several telescopes has, by its unit; of one without that label."""
        units: list[tuple[str, ...]] = [(unit,) for unit in nights] or [()]
        rows = zip(units, values, strict=True)
        return gauge(name, text, rows, *("unit",) * bool(nights))

    def weather_gauge(name: str, text: str, value: Callable[[WeatherReading], float | None]) -> Any:
        return each_gauge(name, text, [value(each.last) if each.last is not None else None for each in monitorings])

    yield gauge("build_info", "The version that runs.", [((__version__, observed.config.name), 1.0)],
                "version", "observatory")  # fmt: skip
    yield each_gauge("safe", "Whether it is safe to be open; no sample where nobody knows.",
                     [_flag(each.safety.safe) for each in nights.values() or (night,)])  # fmt: skip
    yield gauge("held", "Whether somebody holds the observatory.", [((), float(night.hold is not None))])
    domes = [each.dome for each in nights.values() or (night,)]
    if any(domes):
        yield each_gauge("dome_open", "Whether the dome is not closed; no sample where nobody knows.",
                         [_is_open(each) for each in domes])  # fmt: skip
    yield gauge("alarms", "Alarms that stand.", [((), float(len(night.alarms)))])
    agents = night.agents
    yield gauge("agent_up", "Whether the agent runs.", [((each.name,), _flag(each.up)) for each in agents], "agent")
    total = CounterMetricFamily(
        "pyros_messages", "Messages that agents have taken since their journals began.", labels=("agent",)
    )
    for each in agents:
        total.add_metric((each.name,), each.taken)
    yield total
    yield gauge("messages_failed", "Messages whose handlers failed, and that were not handled since.",
                [((each.name,), each.failed) for each in agents], "agent")  # fmt: skip
    yield gauge("messages_refused", "Messages of this agent that others refused.",
                [((each.name,), each.refused) for each in agents], "agent")  # fmt: skip
    yield gauge("messages_waiting", "Messages of this agent that wait for others.",
                [((each.name,), each.waiting) for each in agents], "agent")  # fmt: skip
    instruments = devices(observed)
    yield gauge("instrument_connected", "Whether the instrument's agent reaches it.",
                [((each.name,), _flag(each.connected)) for each in instruments], "instrument")  # fmt: skip
    yield gauge("instrument_heard_timestamp_seconds", "When it was last measured what the instrument does, Unix time.",
                [((each.name,), each.said) for each in instruments], "instrument")  # fmt: skip
    if any(each.last is not None for each in monitorings):
        yield weather_gauge("weather_temperature_celsius", "Temperature of the air.", lambda it: it.temperature)
        yield weather_gauge(
            "weather_humidity_ratio", "Relative humidity, 0 to 1.", lambda it: _scaled(it.humidity, 0.01)
        )
        yield weather_gauge("weather_wind_meters_per_second", "Mean wind.", lambda it: it.wind)
        yield weather_gauge("weather_gust_meters_per_second", "Gusts.", lambda it: it.gust)
        yield weather_gauge("weather_pressure_pascals", "Pressure of the air.", lambda it: _scaled(it.pressure, 100.0))
        yield weather_gauge("weather_cloud_ratio", "Share of the sky that is cloudy, 0 to 1.", lambda it: it.cloud)
        yield weather_gauge("weather_rain", "Whether it rains.", lambda it: _flag(it.rain))
    images = [each.last_image for each in monitorings]
    if any(images):
        yield each_gauge("image_fwhm_arcseconds", "Full width at half maximum of the last image's stars.",
                         [each.fwhm if each is not None else None for each in images])  # fmt: skip
    if observed.config.data.exists():
        free = shutil.disk_usage(observed.config.data).free
        yield gauge("disk_free_bytes", "Free space of the data folder's disk.", [((), float(free))])
    yield gauge("jobs", "Jobs in the queue's ledger, by state.", _jobs(observed), "queue", "state")
    if report is not None:
        yield gauge("check_status", "A check's verdict: 0 pass, 1 warn, 2 fail, 3 unknown.",
                    [((each.name,), _STATUS[each.verdict]) for each in report.checks if each.verdict != "skip"],
                    "check")  # fmt: skip
        yield gauge("check_timestamp_seconds", "When the checks were run, Unix time.", [((), report.time)])


_STATUS: dict[Verdict, float] = {"pass": 0.0, "warn": 1.0, "fail": 2.0, "unknown": 3.0}
"""As the exit codes are."""


def _jobs(observed: Observed) -> Iterator[tuple[tuple[str, ...], float]]:
    for section in queues(observed.config):
        try:
            reader = LedgerReader(section.name, observed.path(section.name))
        except JournalError:
            continue
        try:
            for word, count in sorted(reader.counts().items()):
                yield (section.name, word), float(count)
        except JournalError:
            continue
        finally:
            reader.close()


def _is_open(dome: DomeView | None) -> float | None:
    if dome is None or dome.state in ("unknown", "error"):
        return None
    return float(dome.state not in ("closed", "parked"))


def _flag(value: bool | None) -> float | None:
    return None if value is None else float(value)


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value * by
