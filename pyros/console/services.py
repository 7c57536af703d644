"""What programs of others ask, in their own dialects: one table, from which the URLs and who may follow.

The OCS dialect (docs/ocs.md), the Virtual Observatory's Simple Image Access 2.0 (docs/images.md), and what load
balancers and Prometheus ask (docs/health.md). A program shows
its token, as ``Authorization: Token ...`` or ``Bearer ...``; who has none gets 401 in JSON.
"""

from __future__ import annotations

import msgspec

from pyros.console.roles import Role

_OCS = "pyros.console.answers.ocs"
_VO = "pyros.console.answers.vo"
_HEALTH = "pyros.console.answers.health"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One URL, with what answers each method."""

    path: str
    """Without the first slash, as Django's `path`."""
    get: str = ""
    """``module:function``, which takes the request and the path's values; '' for a URL that nobody reads."""
    post: str = ""
    """The same for POST."""
    section: str = ""
    """The section of pages that it belongs to: where that is hidden, it is nowhere, too."""
    role: Role = Role.VIEWER
    """Who may read it."""
    post_role: Role = Role.OBSERVER
    """Who may post there."""
    changes: bool = True
    """Whether a POST changes something: not in read-only mode, nor with ``requests`` switched off."""


SERVICES = (
    Endpoint(path="api/instruments/", section="requests", get=f"{_OCS}:instruments"),
    Endpoint(path="api/profile/", section="requests", get=f"{_OCS}:profile"),
    Endpoint(path="api/telescope_states/", section="requests", get=f"{_OCS}:telescope_states"),
    Endpoint(path="api/requestgroups/validate/", section="requests", post=f"{_OCS}:validate", changes=False),
    Endpoint(path="api/requestgroups/<str:number>/cancel/", section="requests", post=f"{_OCS}:cancel"),
    Endpoint(path="api/requestgroups/<str:number>/", section="requests", get=f"{_OCS}:group"),
    Endpoint(path="api/requestgroups/", section="requests", get=f"{_OCS}:groups", post=f"{_OCS}:submit"),
    Endpoint(path="api/requestgroups", section="requests", get=f"{_OCS}:groups"),
    Endpoint(path="api/requests/<str:number>/observations/", section="requests", get=f"{_OCS}:observations"),
    Endpoint(path="api/requests/<str:number>/", section="requests", get=f"{_OCS}:request_of"),
    Endpoint(path="api/requests/<str:number>", section="requests", get=f"{_OCS}:request_of"),
    Endpoint(path="frames/", section="images", get=f"{_OCS}:frames"),
    Endpoint(path="frames/<str:number>/", section="images", get=f"{_OCS}:frame"),
    Endpoint(path="frames/<str:number>/download", section="images", get=f"{_OCS}:download"),
    Endpoint(path="sia2/query", section="images", get=f"{_VO}:query"),
    Endpoint(path="sia2/images/<str:number>", section="images", get=f"{_VO}:download"),
    Endpoint(path="obscore.xml", section="images", get=f"{_VO}:obscore_votable"),
    Endpoint(path="obscore.csv", section="images", get=f"{_VO}:obscore_csv"),
    Endpoint(path="health", get=f"{_HEALTH}:health", role=Role.NOBODY),
    Endpoint(path="health/live", get=f"{_HEALTH}:live", role=Role.NOBODY),
    Endpoint(path="metrics", get=f"{_HEALTH}:metrics"),
)
