"""The Virtual Observatory's URLs: Simple Image Access 2.0, the images that it finds, and ObsCore's table of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from pyros.console.answers.serving import base_of, send_file
from pyros.imagery.index import ImageIndexReader, ImageQuery, index_file
from pyros.imagery.obscore import FORMATS, found
from pyros.imagery.sia2 import CONTENT_TYPE, answer
from pyros.ocs import portal

_ROWS_AT_ONCE = 200


def query(request: HttpRequest) -> HttpResponseBase:
    """Search the index of images."""
    config = settings.CONSOLE.config
    parameters = {name: values for name, values in request.GET.lists()}  # noqa: C416  a plain dict of plain lists
    with closing(ImageIndexReader(index_file(config))) as reader:
        status, content = answer(
            reader, parameters, base=f"{base_of(request)}/sia2/images/", collection=config.name
        )  # fmt: skip
    return HttpResponse(content, status=status, content_type=CONTENT_TYPE)


def obscore_votable(request: HttpRequest) -> HttpResponseBase:
    """Give all images as ObsCore's table, as a VOTable."""
    return _obscore(request, "votable")


def obscore_csv(request: HttpRequest) -> HttpResponseBase:
    """Give all images as ObsCore's table, as CSV."""
    return _obscore(request, "csv")


def _obscore(request: HttpRequest, name: str) -> HttpResponseBase:
    media_type, write = FORMATS[name]
    config = settings.CONSOLE.config
    reader = ImageIndexReader(index_file(config))

    def pieces() -> Iterator[str]:
        with closing(reader):
            images = found(reader, ImageQuery(type="LIGHT"))
            lines = write(images, f"{base_of(request)}/sia2/images/", config.name)
            while piece := "".join(islice(lines, _ROWS_AT_ONCE)):
                yield piece

    return StreamingHttpResponse(pieces(), content_type=media_type)


def download(request: HttpRequest, number: str) -> HttpResponseBase:
    return send_file(portal.frame_file(settings.CONSOLE.observed, number))
