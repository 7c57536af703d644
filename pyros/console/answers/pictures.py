"""Pictures that pages show, and images' files."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from pyros.console.answers.errors import refuse
from pyros.console.caller import caller_of
from pyros.console.roles import Role
from pyros.views.images import file_of

_MAX_BYTES = 20_000_000


@require_safe
def preview(request: HttpRequest, number: int) -> HttpResponse:
    """Return the preview that lies beside an image of the index."""
    if caller_of(request).role < Role.VIEWER:
        return refuse(request)
    path = file_of(settings.CONSOLE.observed, number)
    for ending in (".png", ".fits.png") if path is not None else ():
        picture = path.with_name(path.name.partition(".fits")[0] + ending) if path is not None else Path()
        if picture.is_file() and picture.stat().st_size <= _MAX_BYTES:
            answer = HttpResponse(picture.read_bytes(), content_type="image/png")
            answer["Cache-Control"] = "private, max-age=86400"
            return answer
    raise Http404


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
    """Return the preview that lies beside the last image; its URL has the image's name, so that it may be kept."""
    if caller_of(request).role < Role.VIEWER:
        return refuse(request)
    image = settings.CONSOLE.feed.latest.frame.last_image
    data = settings.CONSOLE.config.data.resolve()
    path = Path(image.path).with_suffix(".png").resolve() if image is not None else data
    if not path.is_relative_to(data) or not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise Http404
    answer = HttpResponse(path.read_bytes(), content_type="image/png")
    answer["Cache-Control"] = "private, max-age=86400"
    return answer
