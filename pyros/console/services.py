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


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One URL, with what answers each method."""

    path: str
    """Without the first slash, as Django's `path`."""
    get: str = ""
    """``module:function``, which takes the request and the path's values; '' for a URL that nobody reads."""
    post: str = ""
    """The same for POST."""
    role: Role = Role.VIEWER
    """Who may read it."""
    post_role: Role = Role.OBSERVER
    """Who may post there."""
    changes: bool = True
    """Whether a POST changes something: not in read-only mode, nor with ``requests`` switched off."""


SERVICES = (
    Service(path="api/instruments/", get=f"{_OCS}:instruments"),
    Service(path="api/profile/", get=f"{_OCS}:profile"),
    Service(path="api/telescope_states/", get=f"{_OCS}:telescope_states"),
    Service(path="api/requestgroups/validate/", post=f"{_OCS}:validate", changes=False),
    Service(path="api/requestgroups/<str:number>/cancel/", post=f"{_OCS}:cancel"),
    Service(path="api/requestgroups/<str:number>/", get=f"{_OCS}:group"),
    Service(path="api/requestgroups/", get=f"{_OCS}:groups", post=f"{_OCS}:submit"),
    Service(path="api/requestgroups", get=f"{_OCS}:groups"),
    Service(path="api/requests/<str:number>/observations/", get=f"{_OCS}:observations"),
    Service(path="api/requests/<str:number>/", get=f"{_OCS}:request_of"),
    Service(path="api/requests/<str:number>", get=f"{_OCS}:request_of"),
    Service(path="frames/", get=f"{_OCS}:frames"),
    Service(path="frames/<str:number>/", get=f"{_OCS}:frame"),
    Service(path="frames/<str:number>/download", get=f"{_OCS}:download"),
    Service(path="sia2/query", get=f"{_VO}:query"),
    Service(path="sia2/images/<str:number>", get=f"{_VO}:download"),
    Service(path="obscore.xml", get=f"{_VO}:obscore_votable"),
    Service(path="obscore.csv", get=f"{_VO}:obscore_csv"),
    Service(path="health", get=f"{_HEALTH}:health", role=Role.NOBODY),
    Service(path="health/live", get=f"{_HEALTH}:live", role=Role.NOBODY),
    Service(path="metrics", get=f"{_HEALTH}:metrics"),
)
