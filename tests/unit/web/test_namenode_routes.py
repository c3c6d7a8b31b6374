"""Every route has a handler, every handler a route, and the document says what is served."""

import msgspec
import pytest
from openapi_spec_validator import validate

from dfs.base.errors import ErrorKind, classes_by_code
from dfs.web.errors import HTTP_STATUS, STATUS_BY_CODE, http_status
from dfs.web.openapi import document
from dfs.wire.routes import ROUTES, Caller, Route
from tests.namenode_rig import NamenodeRig

SERVED_BESIDE = {"/health", "/metrics", "/v1/openapi.json"}


def test_every_kind_of_error_has_a_status() -> None:
    assert set(HTTP_STATUS) == set(ErrorKind)


def test_codes_with_a_status_of_their_own_exist() -> None:
    assert set(STATUS_BY_CODE) <= set(classes_by_code())


@pytest.mark.parametrize("code", classes_by_code())
def test_every_error_is_answered_with_a_status_that_refuses(code: str) -> None:
    assert 400 <= http_status(classes_by_code()[code]("")) < 600


def test_every_route_has_a_handler_and_every_handler_a_route(namenode: NamenodeRig) -> None:
    assert set(namenode.process.reign.front.served) == {route.path for route in ROUTES}


@pytest.mark.parametrize("path", sorted(SERVED_BESIDE))
def test_what_is_served_beside_the_routes_answers(namenode: NamenodeRig, path: str) -> None:
    assert namenode.send("GET", path).status == 200


def test_head_of_a_safe_route_says_what_get_would_without_its_body(
    namenode: NamenodeRig, ada: str
) -> None:
    asked = "/v1/fs/stat?paths=/"
    got, head = (namenode.send(method, asked, token=ada) for method in ("GET", "HEAD"))
    assert (head.status, head.raw) == (200, b"")
    assert head.headers["Content-Length"] == str(len(got.raw))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_safe_routes_answer_get_and_others_do_not(namenode: NamenodeRig, route: Route) -> None:
    answer = namenode.send("GET", route.path)
    assert (answer.status == 405) == (not route.safe)


def test_openapi_document_is_valid_and_complete(namenode: NamenodeRig) -> None:
    answer = namenode.send("GET", "/v1/openapi.json")
    assert answer.status == 200
    found = msgspec.json.decode(answer.raw)
    validate(found)
    assert set(found["paths"]) == {route.path for route in ROUTES}
    for route in ROUTES:
        operation = found["paths"][route.path]
        assert ("get" in operation) == route.safe
        assert bool(operation["post"]["security"]) == (route.caller is not Caller.ANYONE)


def test_openapi_names_every_field_of_a_request(namenode: NamenodeRig) -> None:
    schemas = document()["components"]["schemas"]
    for route in ROUTES:
        fields = {one.encode_name for one in msgspec.structs.fields(route.takes)}
        assert set(schemas[route.takes.__name__]["properties"]) == fields
