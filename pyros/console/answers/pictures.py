"""Pictures that pages show, images' files, and alerts' packets as they came."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from pyros.console import charts
from pyros.console.answers.errors import problem, refuse
from pyros.console.caller import caller_of
from pyros.console.pages import MAX_KEY
from pyros.console.roles import Role
from pyros.errors import PyrosError
from pyros.views.alerts import packet_bytes
from pyros.views.chart import finding_chart
from pyros.views.images import file_of, is_indexed

_MAX_BYTES = 20_000_000
_NO_PREVIEW = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 160"><rect width="160" height="160" fill="#222"/>'
    b'<text x="80" y="84" fill="#999" font-family="sans-serif" font-size="13" text-anchor="middle">no preview</text>'
    b"</svg>"
)


@require_safe
def preview(request: HttpRequest, number: int) -> HttpResponse:
    """Return the preview that lies beside an image of the index; one that says so where there is none."""
    if caller_of(request).role < Role.VIEWER:
        return refuse(request)
    path = file_of(settings.CONSOLE.observed, number)
    for ending in (".png", ".fits.png") if path is not None else ():
        picture = path.with_name(path.name.partition(".fits")[0] + ending) if path is not None else Path()
        if picture.is_file() and picture.stat().st_size <= _MAX_BYTES:
            answer = HttpResponse(picture.read_bytes(), content_type="image/png")
            answer["Cache-Control"] = "private, max-age=86400"
            return answer
    if not is_indexed(settings.CONSOLE.observed, number):
        raise Http404
    return _no_preview()


def _no_preview() -> HttpResponse:
    answer = HttpResponse(_NO_PREVIEW, content_type="image/svg+xml")
    answer["Cache-Control"] = "no-store"
    return answer


@require_safe
def alert_packet(request: HttpRequest) -> HttpResponse:
    """Return a packet of an alert as it came, by its identifier: as text, or, where it is none, as a file."""
    if caller_of(request).role < Role.VIEWER:
        return refuse(request)
    try:
        found = packet_bytes(settings.CONSOLE.observed, request.GET.get("key", "")[:MAX_KEY])
    except PyrosError as error:
        return problem(request, 503, "the archive cannot be read", str(error))
    if found is None:
        raise Http404
    try:
        found.decode("utf-8")
    except UnicodeDecodeError:
        answer = HttpResponse(found, content_type="application/octet-stream")
        answer["Content-Disposition"] = 'attachment; filename="packet"'
        return answer
    return HttpResponse(found, content_type="text/plain; charset=utf-8")


@require_safe
def chart(request: HttpRequest) -> HttpResponse:
    """Return the finding chart of the event that the query names, an SVG picture."""
    if caller_of(request).role < Role.VIEWER:
        return refuse(request)
    found = finding_chart(settings.CONSOLE.observed, request.GET.get("key", "")[:MAX_KEY])
    if found is None:
        raise Http404
    answer = HttpResponse(charts.finding_chart(found), content_type="image/svg+xml")
    answer["Cache-Control"] = "private, max-age=60"
    return answer


@require_safe
def fits(request: HttpRequest, number: int) -> HttpResponseBase:
    """Return an image's FITS file, piece by piece."""
    if caller_of(request).role < Role.VIEWER:
        return refuse(request)
    path = file_of(settings.CONSOLE.observed, number)
    if path is None:
        raise Http404
    return FileResponse(path.open("rb"), as_attachment=True, filename=path.name, content_type="application/fits")


@require_safe
def last(request: HttpRequest) -> HttpResponse:
    """Return the preview that lies beside a telescope's last image; its URL has the image's path, so it may be kept."""
    if caller_of(request).role < Role.VIEWER:
        return refuse(request)
    frame = settings.CONSOLE.feed.latest.frame
    asked = unquote(request.META["QUERY_STRING"])
    images = [each.last_image for each in frame.telescopes if each.last_image is not None]
    image = next((each for each in images if each.path == asked), frame.last_image)
    if image is None:
        raise Http404
    path = Path(image.path).with_suffix(".png").resolve()
    inside = path.is_relative_to(settings.CONSOLE.config.data.resolve())
    if not inside or not path.is_file() or path.stat().st_size > _MAX_BYTES:
        return _no_preview()
    answer = HttpResponse(path.read_bytes(), content_type="image/png")
    answer["Cache-Control"] = "private, max-age=86400"
    return answer
