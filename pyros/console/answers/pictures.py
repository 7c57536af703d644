"""Pictures that pages show: the preview of the last image."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from pyros.console.answers.errors import refuse
from pyros.console.caller import caller_of
from pyros.console.roles import Role

_MAX_BYTES = 20_000_000


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
