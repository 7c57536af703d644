"""How the observatory is: for people as a page, for load balancers, and as Prometheus' figures."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from pyros.console.caller import caller_of
from pyros.console.roles import Role
from pyros.health.metrics import CONTENT_TYPE, metrics_text
from pyros.health.report import MEDIA_TYPE, Report, health_json


def page(request: HttpRequest) -> Report:
    """Return the last report of all checks."""
    report: Report = settings.CONSOLE.doctor.report()
    return report


def health(request: HttpRequest) -> HttpResponse:
    """Answer with the report, 503 when a check has failed; strangers get its word alone."""
    report: Report = settings.CONSOLE.doctor.report()
    body = health_json(report, brief=caller_of(request).role < Role.VIEWER)
    return _unkept(HttpResponse(body, content_type=MEDIA_TYPE, status=report.http_status))


def live(request: HttpRequest) -> HttpResponse:
    """Answer that the console runs."""
    return _unkept(HttpResponse(b'{"status":"pass"}', content_type=MEDIA_TYPE))


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer Prometheus."""
    console = settings.CONSOLE
    body = metrics_text(console.observed, console.doctor.report(), console.figures)
    return _unkept(HttpResponse(body, content_type=CONTENT_TYPE))


def _unkept(answer: HttpResponse) -> HttpResponse:
    answer["Cache-Control"] = "no-store"
    return answer
