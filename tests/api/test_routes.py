"""Routing, and that docs/api.md lists the same rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qsup.api.routes import ROUTES, route_of
from qsup.errors import BadRequest

DOCS = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_each_route_is_found(route: object) -> None:
    method, path = route.method, route.path  # type: ignore[attr-defined]
    match = route_of(method, path.replace("{name}", "web%2D1"))
    assert match.route is route
    assert match.name == ("web-1" if "{name}" in path else "")


def test_the_query_is_decoded() -> None:
    match = route_of("GET", "/v1/events?after=3&vm=web1")
    assert match.query == {"after": "3", "vm": "web1"}


@pytest.mark.parametrize(
    ("method", "target", "code"),
    [
        ("GET", "/", "api.no-such-path"),
        ("GET", "/v1/vms/", "api.no-such-path"),
        ("GET", "/v1/vms/a/b/c", "api.no-such-path"),
        ("GET", "*", "api.no-such-path"),
        ("GET", "http://x/v1/vms", "api.no-such-path"),
        ("DELETE", "/v1/vms/web1", "api.wrong-method"),
        ("HEAD", "/v1/vms", "api.wrong-method"),
        ("GET", "/v1/vms/web1/stop", "api.wrong-method"),
        ("GET", "/v1/vms?x=1", "api.bad-query"),
        ("GET", "/v1/events?after=%FF", "api.bad-query"),
        ("GET", "/v1/events?" + "&".join(f"a{n}=1" for n in range(50)), "api.bad-query"),
    ],
)
def test_what_is_refused(method: str, target: str, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        route_of(method, target)
    assert caught.value.code == code


def test_the_documentation_lists_every_route() -> None:
    rows = re.findall(r"^\| (GET|POST) \| `([^`?]+)", DOCS.read_text(), re.MULTILINE)
    assert rows == [(route.method, route.path) for route in ROUTES]
