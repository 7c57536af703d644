"""Every change that can be made through the console, in one table: POST alone, and who may.

The orders (stop, hold, release) need neither database nor JavaScript, are taken in read-only mode, and have threads of
their own, so that they wait for no page.
"""

from __future__ import annotations

import msgspec

from pyros.console.roles import Role


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One change that can be made."""

    name: str
    """Its name, of its URL and in the audit."""
    path: str
    """Its URL without the first slash, as Django's `path`."""
    answer: str
    """``module:function``, which takes the request and the path's values, and answers it."""
    role: Role
    """Who may."""
    section: str = ""
    """The section of pages that it belongs to: where that is hidden, it is nowhere, too."""
    switch: str = ""
    """The switch (`pyros.console.switches`) that must be on."""
    order: bool = False
    """Whether it is one of the orders."""
    reading: bool = False
    """Whether it is done in read-only mode, too."""


ACTIONS = (
    Action(name="stop", path="stop", answer="pyros.console.answers.orders:stop", role=Role.OPERATOR, order=True),
    Action(name="hold", path="hold", answer="pyros.console.answers.orders:hold", role=Role.OPERATOR, order=True),
    Action(name="release", path="release", answer="pyros.console.answers.orders:release", role=Role.OPERATOR,
           order=True),
    Action(name="add note", path="event/note", answer="pyros.console.answers.noting:add", role=Role.OBSERVER,
           section="events"),
    Action(name="remove note", path="notes/<int:number>/remove", answer="pyros.console.answers.noting:remove",
           role=Role.OBSERVER, section="events"),
    Action(name="make request", path="requests/new", answer="pyros.console.answers.requesting:make",
           role=Role.OBSERVER, section="requests", switch="requests"),
    Action(name="change request", path="requests/change", answer="pyros.console.answers.requesting:change",
           role=Role.OBSERVER, section="requests", switch="requests"),
    Action(name="cancel request", path="requests/cancel", answer="pyros.console.answers.requesting:cancel",
           role=Role.OBSERVER, section="requests", switch="requests"),
    Action(name="retry message", path="messages/retry", answer="pyros.console.answers.retrying:retry",
           role=Role.OPERATOR, section="messages"),
    Action(name="command device", path="devices/command", answer="pyros.console.answers.commanding:command",
           role=Role.OPERATOR, section="devices"),
    Action(name="describe device", path="devices/describe", answer="pyros.console.answers.describing:describe",
           role=Role.OPERATOR, section="devices"),
    Action(name="test notice", path="notices/test", answer="pyros.console.answers.telling:send_test",
           role=Role.OPERATOR, section="notices"),
    Action(name="acknowledge notice", path="notices/acknowledge", answer="pyros.console.answers.telling:take_care",
           role=Role.OPERATOR, section="notices"),
    Action(name="add note by API", path="api/v1/event/note", answer="pyros.console.answers.noting:add",
           role=Role.OBSERVER, section="events"),
    Action(name="make request by API", path="api/v1/requests/new",
           answer="pyros.console.answers.requesting_by_api:make", role=Role.OBSERVER, section="requests",
           switch="requests"),
    Action(name="change request by API", path="api/v1/requests/change",
           answer="pyros.console.answers.requesting_by_api:change", role=Role.OBSERVER, section="requests",
           switch="requests"),
    Action(name="cancel request by API", path="api/v1/requests/cancel",
           answer="pyros.console.answers.requesting_by_api:cancel", role=Role.OBSERVER, section="requests",
           switch="requests"),
    Action(name="stop by API", path="api/v1/stop", answer="pyros.console.answers.orders:stop", role=Role.OPERATOR,
           order=True),
    Action(name="hold by API", path="api/v1/hold", answer="pyros.console.answers.orders:hold", role=Role.OPERATOR,
           order=True),
    Action(name="release by API", path="api/v1/release", answer="pyros.console.answers.orders:release",
           role=Role.OPERATOR, order=True),
    Action(name="sign out", path="sign-out", answer="pyros.console.answers.signing:sign_out", role=Role.VIEWER,
           reading=True),
    Action(name="run", path="jobs/run", answer="pyros.console.answers.jobs:run", role=Role.OBSERVER,
           section="jobs", switch="jobs"),
    Action(name="end job", path="jobs/<str:name>/end", answer="pyros.console.answers.jobs:end", role=Role.OBSERVER,
           section="jobs", switch="jobs"),
    Action(name="invite", path="users/invite", answer="pyros.console.answers.users:invite", role=Role.ADMIN,
           section="users"),
    Action(name="change user", path="users/<str:name>/change", answer="pyros.console.answers.users:change",
           role=Role.ADMIN, section="users"),
    Action(name="make password link", path="users/<str:name>/password",
           answer="pyros.console.answers.users:make_password_link", role=Role.ADMIN, section="users"),
    Action(name="make token", path="you/tokens", answer="pyros.console.answers.account:make_token", role=Role.VIEWER),
    Action(name="revoke token", path="you/tokens/<int:number>/revoke",
           answer="pyros.console.answers.account:revoke_token", role=Role.VIEWER),
    Action(name="change password", path="you/password", answer="pyros.console.answers.account:change_password",
           role=Role.VIEWER),
    Action(name="switch", path="administration/switch", answer="pyros.console.answers.administration:switch",
           role=Role.ADMIN, section="admin", reading=True),
)  # fmt: skip

ORDERS = frozenset(f"/{action.path}" for action in ACTIONS if action.order)
"""The orders' URLs."""
