"""The API for programs, ``/api/v1/``: the pages' views as JSON, and the orders; its description is OpenAPI 3.1.

It is derived from the tables of pages and actions: what a page shows a program gets by the same function, and what is
hidden there is nowhere here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, get_type_hints

import msgspec

from pyros import __version__
from pyros.console.actions import ACTIONS, Action
from pyros.console.answers.naming import named
from pyros.console.api_bodies import POSTED
from pyros.console.pages import MAX_LIMIT, Page, limit, yes
from pyros.console.roles import Role
from pyros.coordinates import declination, right_ascension

ROOT = "api/v1/"
_PATHS = {"tonight": "state", "health": "health"}
"""Where a page's path isn't its path here."""
_NOT_HERE = ("users", "account", "admin")
"""What people do for themselves."""
_CONVERTER = re.compile(r"<(?P<type>\w+):(?P<name>\w+)>")
_TYPES: dict[str, dict[str, Any]] = {
    "int": {"type": "integer", "minimum": 0}, "str": {"type": "string"}, "path": {"type": "string"},
}  # fmt: skip
_PROBLEM = {
    "type": "object", "required": ["error"],
    "properties": {"error": {"type": "string"}, "detail": {"type": "string"},
                   "problems": {"type": "array", "items": {"type": "string"}}},
}  # fmt: skip
_ORDERED = {
    "type": "object",
    "properties": {
        "order": {"type": "string"}, "agents": {"type": "integer"}, "problem": {"type": "string"},
        "missing": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["order", "agents", "missing", "problem"],
}  # fmt: skip


_ONCE = {
    "name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    "description": "who repeats a request under the same key, since the answer was lost, makes no second one",
}  # fmt: skip


def api_path(page: Page) -> str:
    """Return a page's path in the API, as Django's `path`; '' for one that isn't there."""
    return "" if page.name in _NOT_HERE or page.role > Role.VIEWER else ROOT + _PATHS.get(page.name, page.path)


def openapi(pages: Iterable[Page]) -> dict[str, Any]:
    """Return the description of the API, OpenAPI 3.1, for the pages that aren't hidden."""
    pages = [page for page in pages if api_path(page)]
    returned = [_returned(page) for page in pages]
    schemas, components = msgspec.json.schema_components(
        [*returned, *(named(posted.answer) for posted in POSTED.values())], ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, Any] = {}
    for page, schema in zip(pages, schemas, strict=False):
        written = _CONVERTER.sub(r"{\g<name>}", api_path(page))
        paths[f"/{written}"] = {"get": _reading(page, schema)}
    sections = {page.hidden_by for page in pages}
    for action in (each for each in ACTIONS if each.path.startswith(ROOT)):
        if action.order:
            paths[f"/{action.path}"] = {"post": _order(action)}
        elif action.section in sections:
            paths[f"/{action.path}"] = {"post": _change(action)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "PYROS",
            "version": __version__,
            "description": "An observatory's data, requests and orders.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components | {"Problem": _PROBLEM, "Ordered": _ORDERED},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _returned(page: Page) -> Any:
    function: Any = page.view or named(page.data)
    return get_type_hints(function)["return"]


def _reading(page: Page, schema: Any) -> dict[str, Any]:
    in_path = [
        {"name": found["name"], "in": "path", "required": True, "schema": _TYPES[found["type"]]}
        for found in _CONVERTER.finditer(page.path)
    ]
    in_query = [{"name": name, "in": "query", "schema": _value(convert)} for name, convert in page.query.items()]
    return {
        "operationId": page.name.replace(" ", "_"),
        "summary": page.title,
        "parameters": [*in_path, *in_query],
        "responses": {
            "200": {"description": "what there is", "content": {"application/json": {"schema": schema}}},
            "304": {"description": "it is as If-None-Match has it"},
            **_problems(400, 401, 403, 404, 503),
        },
    }


def _order(action: Action) -> dict[str, Any]:
    body = {"type": "object", "properties": {"why": {"type": "string", "maxLength": 200}}}
    ordered = {"application/json": {"schema": {"$ref": "#/components/schemas/Ordered"}}}
    return {
        "operationId": action.name.replace(" ", "_"),
        "summary": f"{action.path.rpartition('/')[2].capitalize()} the observatory; for the role {action.role.word}",
        "requestBody": {"content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": "who has not answered, by name", "content": ordered},
            "503": {"description": "it could not be written, and nobody answered", "content": ordered},
            **_problems(400, 401, 403),
        },
    }


def _change(action: Action) -> dict[str, Any]:
    posted = POSTED[action.name]
    kind = posted.answer.partition(":")[2]
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind}"}}}
    return {
        "operationId": action.name.removesuffix(" by API").replace(" ", "_"),
        "summary": f"{posted.summary}; for the role {action.role.word}",
        "requestBody": {"required": True, "content": {"application/json": {"schema": posted.body}}},
        **({"parameters": [_ONCE]} if posted.once else {}),
        "responses": {
            **{str(code): {"description": words, "content": content} for code, words in posted.made.items()},
            **_problems(400, 401, 403, 404, 409, *([422] if posted.once else []), 503),
        },
    }


def _problems(*codes: int) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    words = {400: "it makes no sense", 401: "no token", 403: "not for this role, or not now", 404: "there is none",
             409: "it is another's, of an alert, or has ended", 422: "the key has asked for something else",
             503: "it cannot be read now"}  # fmt: skip
    return {str(code): {"description": words[code], "content": content} for code in codes}


def _value(convert: Callable[[str], Any]) -> dict[str, Any]:
    """Return the schema of a value of the query, by what converts it."""
    for given, schema in (
        (limit, {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}),
        (yes, {"type": "string", "enum": ["yes", "no"]}),
        (int, {"type": "integer"}),
        (right_ascension, {"type": ["number", "string"], "description": "ICRS: degrees, or hours as 05:35:17.3"}),
        (declination, {"type": ["number", "string"], "description": "ICRS: degrees, or -05:23:28"}),
    ):
        if convert is given:
            return schema
    returned: Any = get_type_hints(convert).get("return") if convert is not str else str
    return {"type": {float: "number", int: "integer"}.get(returned, "string")}
