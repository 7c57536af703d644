"""The Virtual Observatory's URLs: Simple Image Access 2.0, and the images that it finds."""

from __future__ import annotations

from contextlib import closing

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from pyros.console.answers.serving import base_of, send_file
from pyros.imagery.index import ImageIndexReader, index_file
from pyros.imagery.sia2 import CONTENT_TYPE, answer
from pyros.ocs import portal


def query(request: HttpRequest) -> HttpResponseBase:
    """Search the index of images."""
    config = settings.CONSOLE.config
    parameters = {name: values for name, values in request.GET.lists()}  # noqa: C416  a plain dict of plain lists
    with closing(ImageIndexReader(index_file(config))) as reader:
        status, content = answer(
            reader, parameters, base=f"{base_of(request)}/sia2/images/", collection=config.name
        )  # fmt: skip
    return HttpResponse(content, status=status, content_type=CONTENT_TYPE)


def download(request: HttpRequest, number: str) -> HttpResponseBase:
    return send_file(portal.frame_file(settings.CONSOLE.observed, number))
