"""Every field, parameter and path of every route with values nobody should send: only faults come back, and
nothing is changed by what was refused."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

from tests.conformance.conftest import Servers
from tests.support.rest import LATEST, Answer, Rest

NASTY: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 2**31, 2**63, -(2**63), 2**64, 10**25, 1e308,
    "", " ", "x" * 70_000, "9" * 5000, "-1", "1e5", "²", "\u0663", "\x00", "a\x00b", "\ud800", "\u202e" * 300,
    "\U0001f600" * 100, "../../etc/passwd", "'; DROP TABLE servers; --", "%s%n%x", "{}", "[" * 500, "(" * 60,
    "(a+)+$", "*", [], [None], [[]], [{}], ["x"] * 300, {}, {"": ""}, {"x": {"y": {}}}, {"a" * 300: "b"},
)  # fmt: skip
NASTY_TEXT = (
    "", "0", "-1", "9" * 5000, "²", "\u0663", "\x00", "\xff", "a/b", "..", ".", "%", "%00", "?", "#", ";", "\\",
    "null", "x" * 3000, "\U0001f600", "\u202e", "latest", "é", "*", "(", "00000000-0000-0000-0000-000000000000",
    "2026-13-45T99:99:99Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00", "true", "[]", "{}", "a,b,,c",
)  # fmt: skip

WORDS = re.compile(r"\{(\w+)\}")


def _example(schema: Any) -> Any:
    """Something that is as the schema says, as little of it as will do."""
    if not isinstance(schema, dict):
        return {}
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for kind in ("oneOf", "anyOf"):
        if kind in schema:
            return _example(schema[kind][0])
    kinds = schema.get("type", "object")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _example(properties[name]) for name in schema.get("required", ()) if name in properties}
    if kind == "array":
        return [_example(schema.get("items", {}))] * max(1, schema.get("minItems", 0))
    if kind in ("integer", "number"):
        return max(1, schema.get("minimum", 1))
    if kind == "boolean":
        return True
    return None if kind == "null" else "x" * max(1, schema.get("minLength", 1))


def _places(schema: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to everything a body may hold."""
    yield at
    if not isinstance(schema, dict):
        return
    for each in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        yield from (place for place in _places(each, at) if place != at)
    for name, part in schema.get("properties", {}).items():
        yield from _places(part, (*at, name))
    if "items" in schema:
        yield from _places(schema["items"], (*at, 0))
    if "patternProperties" in schema or isinstance(schema.get("additionalProperties"), dict):
        yield (*at, "key")
    if schema.get("additionalProperties") is False:
        yield (*at, "unheard-of")


def _with(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The body with another value there; what leads there is made."""
    if not place:
        return value
    head, *rest = place
    if head == 0:
        held = body if isinstance(body, list) and body else [{}]
        return [_with(held[0], tuple(rest), value)]
    held = dict(body) if isinstance(body, dict) else {}
    held[head] = _with(held.get(head), tuple(rest), value)
    return held


def _written(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture(scope="module")
def document(admin: Rest) -> dict[str, Any]:
    return admin.get(f"/openapi.json?microversion={LATEST}", prefix="", version=None)


@pytest.fixture(scope="module")
def server(kept: Servers, admin: Rest, plaything: str) -> str:
    return kept.boot(admin, "steadfast", metadata={"a": "b"}, tags=["x"])["id"]


def _served(document: dict[str, Any], method: str | None = None) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for verb, operation in item.items():
            unserved = set(operation["responses"]) & {"501", "410"} if isinstance(operation, dict) else True
            if verb != "parameters" and not unserved and method in (None, verb.upper()):
                yield verb.upper(), path, operation


def _filled(path: str, server: str) -> str:
    values = {"server_id": server, "flavor_id": "plaything", "key": "a", "tag": "x"}
    return WORDS.sub(lambda found: values.get(found[1], "none"), path)


def _try(caller: Rest, requests: list[tuple[Any, ...]]) -> None:
    """Sends them all; an answer must be a success or a fault of the right form."""

    def one(request: tuple[Any, ...]) -> str:
        method, path, more = request
        answer = caller.call(method, path, **more)
        return _complaint(answer) and f"{method} {path[:200]} {str(more)[:300]}: {_complaint(answer)}"

    with ThreadPoolExecutor(4) as pool:
        complaints = [complaint for complaint in pool.map(one, requests) if complaint]
    assert not complaints, "\n".join(complaints)


def _complaint(answer: Answer) -> str:
    if answer.status < 400:
        return ""
    if answer.status >= 500 and answer.status != 501:
        return f"{answer.status} {answer.content[:200]!r}"
    try:
        answer.fault(answer.status)
    except (AssertionError, TypeError, ValueError, KeyError) as wrong:
        return f"not a fault: {answer.status} {answer.content[:200]!r} {wrong}"
    return ""


def test_bodies(document: dict[str, Any], admin: Rest, server: str) -> None:
    requests = []
    for method, path, operation in _served(document):
        if "requestBody" not in operation:
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        where = _filled(path, server)
        for form in schema.get("oneOf", [schema]):
            example = _example(form)
            if path == "/servers":
                example["server"] |= {"networks": "none", "imageRef": "", "flavorRef": "none"}
            for place, value in itertools.product(dict.fromkeys(_places(form)), NASTY):
                requests.append((method, where, {"data": _written(_with(example, place, value))}))
    assert len(requests) > 3000
    before = admin.get(f"/servers/{server}")["server"]
    _try(admin, [request for request in requests if not _harmful(*request)])
    after = admin.get(f"/servers/{server}")["server"]
    for name in ("status", "id", "flavor", "image", "OS-EXT-SRV-ATTR:host", "OS-EXT-STS:task_state"):
        assert after[name] == before[name]
    assert admin.get("/servers?name=^x")["servers"] == []


def _harmful(_: str, path: str, more: dict[str, Any]) -> bool:
    """Actions that are right as they are, with anything or nothing for a value, and do something."""
    return path.endswith("/action") and bool(set(_keys(more["data"])) & {"os-stop", "os-start", "reboot"})


def _keys(data: bytes) -> list[str]:
    body = json.loads(data)
    return list(body) if isinstance(body, dict) else []


def test_queries(document: dict[str, Any], admin: Rest, server: str) -> None:
    requests = []
    for method, path, operation in _served(document, "GET"):
        names = [parameter["name"] for parameter in operation.get("parameters", ())]
        where = _filled(path, server)
        for name, value in itertools.product([*names, "unheard-of", "\u202e", ""], NASTY_TEXT):
            requests.append((method, f"{where}?{quote(name)}={quote(value, errors='surrogateescape')}", {}))
        wild = ("%ff=%fe", "&&&==", "a[]=b", "=", "%", "x" * 5000)
        requests += [(method, f"{where}?{query}", {}) for query in wild]
    assert len(requests) > 1500
    _try(admin, requests)


def test_paths(document: dict[str, Any], admin: Rest, server: str) -> None:
    requests = []
    for method, path, _ in _served(document):
        places = WORDS.findall(path)
        for name, value in itertools.product(places, NASTY_TEXT):
            if value in ("", ".", "..") or (method == "DELETE" and value == server):
                continue
            spoilt = path.replace(f"{{{name}}}", quote(value, safe="", errors="surrogateescape"))
            requests.append((method, _filled(spoilt, server), {"data": b"{}"} if method != "GET" else {}))
    _try(admin, requests)
    assert admin.call("GET", f"/servers/{server}").status == 200


@pytest.mark.parametrize("version", ["2.1", "2.60", LATEST])
def test_methods_and_headers(admin: Rest, version: str, server: str) -> None:
    requests: list[tuple[Any, ...]] = []
    for method in ("GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW"):
        for path in (
            "/servers/none",
            "/flavors/none",
            "/nothing",
            "/os-keypairs/none",
            "/%2e%2e/servers",
            "//",
        ):
            requests.append((method, path, {"version": version, "data": b"{}"}))
    for value in (
        "",
        "x",
        "2." + "9" * 5000,
        "²",
        "compute",
        "compute 2.1, compute 9.9",
        "a" * 5000,
        "2.1\t",
    ):
        for header in ("OpenStack-API-Version", "X-OpenStack-Nova-API-Version"):
            for written in (value.encode(), b"compute " + value.encode()):
                requests.append(("GET", "/flavors", {"version": None, "headers": {header: written}}))
    for value in (b"", b"x", b"text/plain", b"application/json; charset=utf-16", b"\xff", b";", b"a" * 5000):
        requests.append(("POST", "/flavors", {"data": b"{}", "headers": {"Content-Type": value}}))
        requests.append(("GET", "/flavors", {"headers": {"Accept": value}}))
    for value in (b"x", b"\xff\xfe", b"req-" + b"9" * 5000, b"req-00000000-0000-0000-0000-000000000000"):
        requests.append(("GET", "/flavors", {"headers": {"X-Openstack-Request-Id": value}}))
        requests.append(("POST", "/servers", {"data": b"{}", "headers": {"Idempotency-Key": value}}))
    _try(admin, [request for request in requests if request[0] != "HEAD"])


def test_bodies_of_no_form(document: dict[str, Any], admin: Rest, server: str) -> None:
    data = (
        b"", b"{", b"nul", b"\xff\xfe", b"\x00", b'{"a": 1, "a": 2}', b"{}{}", b"NaN", b"[" * 50_000, b"1" * 5000,
        b'{"server": {"name": "\xc3\x28"}}', b'{"\\ud800": 1}', b'"' + b"x" * 114_000 + b'"', b"x" * 114_689,
        b"<xml/>", b"a=b&c=d",
    )  # fmt: skip
    requests = [
        (method, _filled(path, server), {"data": each})
        for (method, path, _), each in itertools.product(_served(document), data)
        if method in ("POST", "PUT") and path not in ("/servers/{server_id}/tags/{tag}",)
    ]
    _try(admin, requests)


def test_placement(admin: Rest) -> None:
    version = {"OpenStack-API-Version": "placement 1.39"}
    complaints = []
    paths = [
        ("GET", "/resource_providers?{}"), ("GET", "/resource_providers?name={}"),
        ("GET", "/resource_providers/{}"), ("GET", "/resource_providers?member_of={}"),
        ("GET", "/resource_providers?required={}"),
        ("GET", "/resource_providers?resources={}"), ("GET", "/resource_providers?in_tree={}"),
        ("GET", "/allocation_candidates?resources={}"), ("GET", "/allocation_candidates?resources=VCPU:{}"),
        ("GET", "/allocation_candidates?resources=VCPU:1&limit={}"),
        ("GET", "/allocation_candidates?resources=VCPU:1&group_policy={}"),
        ("GET", "/allocation_candidates?resources=VCPU:1&required={}"),
        ("GET", "/allocation_candidates?resources=VCPU:1&in_tree={}"),
        ("GET", "/allocation_candidates?resources=VCPU:1&member_of={}"),
        ("GET", "/allocation_candidates?resources1=VCPU:1&root_required={}"),
        ("GET", "/traits?name={}"), ("GET", "/traits/{}"), ("GET", "/resource_classes/{}"), ("GET", "/usages?{}"),
        ("GET", "/usages?project_id={}"), ("GET", "/allocations/{}"), ("DELETE", "/allocations/{}"),
        ("GET", "/resource_providers/{}/inventories"), ("GET", "/resource_providers/{}/usages"), ("GET", "/{}"),
    ]  # fmt: skip
    bodies = [
        ("POST", "/resource_providers", {"name": "x", "uuid": "y", "parent_provider_uuid": None}),
        ("PUT", "/resource_providers/none", {"name": "x", "parent_provider_uuid": None}),
        ("PUT", "/resource_providers/none/inventories", {"resource_provider_generation": 0, "inventories": {}}),
        ("PUT", "/resource_providers/none/traits", {"resource_provider_generation": 0, "traits": []}),
        ("PUT", "/resource_providers/none/aggregates", {"resource_provider_generation": 0, "aggregates": []}),
        ("POST", "/resource_classes", {"name": "CUSTOM_"}),
        ("POST", "/allocations", {}),
        (
            "PUT",
            "/allocations/00000000-0000-0000-0000-000000000001",
            {"allocations": {}, "project_id": "p", "user_id": "u", "consumer_generation": None},
        ),
        ("POST", "/reshaper", {"inventories": {}, "allocations": {}}),
    ]  # fmt: skip
    requests = [
        (method, path.format(quote(value, safe="", errors="surrogateescape")), {})
        for (method, path), value in itertools.product(paths, NASTY_TEXT)
        if value not in ("", ".", "..")
    ]
    for method, path, body in bodies:
        for name, value in itertools.product([*body, "unheard-of"], NASTY):
            requests.append((method, path, {"data": _written(body | {name: value})}))
        requests += [(method, path, {"data": data}) for data in (b"", b"{", b"[]", b"\xff", b"null")]
    for method, path, more in requests:
        answer = admin.call(method, path, prefix="/placement", headers=version, **more)
        formed = answer.status < 400 or (answer.json and answer.json["errors"][0]["status"] == answer.status)
        if answer.status >= 500 or not formed:
            complaints.append(
                f"{method} {path[:100]} {str(more)[:200]}: {answer.status} {answer.content[:200]!r}"
            )
    for provider in admin.get("/resource_providers", prefix="/placement", headers=version)[
        "resource_providers"
    ]:
        if not provider["name"].startswith("compute-"):
            admin.call(
                "DELETE", f"/resource_providers/{provider['uuid']}", prefix="/placement", headers=version
            )
    assert not complaints, "\n".join(complaints)
