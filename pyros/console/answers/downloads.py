"""Files that jobs have left, by signed links: who has the link needs no account."""

from __future__ import annotations

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponseBase
from django.views.decorators.http import require_safe

from pyros.console.answers.errors import problem
from pyros.console.sealed import Download, unseal
from pyros.jobs.outbox import open_output


@require_safe
def download(request: HttpRequest, sealed: str) -> HttpResponseBase:
    """Give a job's output to be kept, never to be shown: it may be anything."""
    wanted = unseal(settings.CONSOLE.secret, Download, sealed)
    if wanted is None:
        return problem(request, 403, "this link is too old, or is not one of ours; ask for another")
    try:
        file = open_output(settings.CONSOLE.config, wanted.queue, wanted.job, wanted.name)
    except FileNotFoundError:
        return problem(request, 404, "the file is not there any more: jobs are cleaned after a while")
    return FileResponse(file, as_attachment=True, filename=wanted.name, content_type="application/octet-stream")
