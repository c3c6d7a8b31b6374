"""The OpenAPI 3.1 document of `/v1`, printed from the route table and the shapes it names."""

from collections.abc import Mapping
from typing import Any, Final, get_origin, get_type_hints

import msgspec

from dfs import __version__
from dfs.base.errors import classes_by_code
from dfs.web.errors import http_status
from dfs.wire.http_link import REQUEST_ID_HEADER
from dfs.wire.routes import ROUTES, Caller, Route
from dfs.wire.shapes import ErrorReply

Json = dict[str, Any]
_JSON: Final = "application/json"
_SECURITY: Final[Mapping[Caller, list[Json]]] = {
    Caller.ANYONE: [],
    Caller.SESSION: [{"session": []}],
    Caller.ADMIN: [{"session": []}],
    Caller.NODE: [{"node": []}],
}
_REQUEST_ID: Final[Json] = {
    "name": REQUEST_ID_HEADER,
    "in": "header",
    "description": "Made by the caller; a change asked again under it is answered, not repeated.",
    "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
}


def document() -> Json:
    """The whole document."""
    kinds = [*(r.takes for r in ROUTES), *(r.gives for r in ROUTES), ErrorReply]
    found, components = msgspec.json.schema_components(
        kinds, schema_hook=_anything, ref_template="#/components/schemas/{name}"
    )
    count = len(ROUTES)
    takes, gives, error = found[:count], found[count : 2 * count], found[-1]
    paths = {
        route.path: _path(route, takes[i], gives[i], components) for i, route in enumerate(ROUTES)
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "DFS NameNode", "version": __version__, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "session": {"type": "http", "scheme": "bearer", "bearerFormat": "dfs_..."},
                "node": {"type": "http", "scheme": "bearer", "bearerFormat": "dfsn_..."},
            },
            "responses": {"Refused": _content("Refused; see `code`, `message`, `hint`.", error)},
        },
    }


_ABOUT: Final = """\
Bytes are base64, sizes bytes, times milliseconds since 1970 UTC. A batch answers one outcome an \
item, in the order asked. Routes that change nothing answer GET too."""


def _anything(kind: type) -> Json:
    """The schema of a value that may be whatever JSON can say (the details of an error)."""
    assert kind is object
    return {"description": "any JSON value"}


def _path(route: Route[Any, Any], takes: Json, gives: Json, components: Json) -> Json:
    path = {"post": _operation(route, gives) | {"requestBody": _body(takes)}}
    if route.safe:
        parameters = _query(route, components)
        path["get"] = _operation(route, gives, method="get") | {"parameters": parameters}
    return path


def _operation(route: Route[Any, Any], gives: Json, *, method: str = "post") -> Json:
    name = route.path.removeprefix("/v1/").replace("/", "_").replace("-", "_")
    operation: Json = {
        "operationId": name if method == "post" else f"{name}_{method}",
        "summary": route.summary,
        "tags": [route.path.split("/")[2]],
        "security": _SECURITY[route.caller],
        "responses": {
            "200": _content("Done.", gives),
            **{str(s): {"$ref": "#/components/responses/Refused"} for s in _statuses(route)},
        },
    }
    if not route.safe:
        operation["parameters"] = [_REQUEST_ID]
    return operation


def _statuses(route: Route[Any, Any]) -> list[int]:
    """What a refusal may be answered with; a route that anyone may ask wants no credential."""
    every = {http_status(leaf("")) for leaf in classes_by_code().values()}
    return sorted(every - ({403} if route.caller is Caller.ANYONE else set()))


def _body(takes: Json) -> Json:
    return {"required": True, "content": {_JSON: {"schema": takes}}}


def _content(description: str, schema: Json) -> Json:
    return {"description": description, "content": {_JSON: {"schema": schema}}}


def _query(route: Route[Any, Any], components: Json) -> list[Json]:
    shape = components[route.takes.__name__]
    hints = get_type_hints(route.takes)
    return [
        {
            "name": name,
            "in": "query",
            "required": name in shape.get("required", []),
            "schema": schema,
            **({"style": "form", "explode": True} if get_origin(hints[name]) is list else {}),
        }
        for name, schema in shape["properties"].items()
    ]
