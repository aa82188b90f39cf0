"""Bodies and queries made at random: whatever comes, the answer is a fault in form and never a 500."""

from __future__ import annotations

import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protonova.gateway.schema import Obj
from tests.support.cloud import REGISTRY

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([-1, 0, 1, 2**31, 2**63])
    | st.floats(-2, 2)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_TEXTS = st.sampled_from(
    [
        "",
        "a",
        "-1",
        "0",
        "1",
        "true",
        "none",
        "auto",
        "2026-01-01",
        "[",
        "2147483648",
        "9" * 30,
        "é",
        "a,b",
        "10.0.0.1",
    ]
)
_PROXIED = (
    "os-networks",
    "os-tenant-",
    "os-floating-",
    "os-security-group",
    "os-volumes.",
    "os-snapshots",
    "images",
)
_FUZZED = [
    operation
    for operation in REGISTRY.operations
    if operation.body is not None and not operation.id.startswith(("gone", "os-volumes_boot"))
]
_QUERIED = [
    operation for operation in REGISTRY.operations if operation.method == "GET" and operation.query.fields
]


def _like(type_, draw, depth=0):
    """A value that is nearly what a type asks for."""
    if isinstance(type_, Obj) and depth < 4:
        fields = draw(st.lists(st.sampled_from(type_.fields), max_size=8)) if type_.fields else []
        fields += [field for field in type_.fields if field.required]
        return {field.name: _like(field.type, draw, depth + 1) for field in fields}
    return draw(_JSON | _TEXTS | st.lists(_TEXTS, max_size=2))


def _path(operation):
    return "".join(
        letter if letter in string.ascii_letters + string.digits + "/-_" else "" for letter in operation.path
    )


def _sane(answer, operation):
    # What is another service's to answer is answered by nobody here.
    away = operation.id.startswith(_PROXIED) and answer.status_code == 503
    assert answer.status_code < 500 or away, answer.text
    if answer.status_code >= 400:
        (element,) = answer.json
        assert answer.json[element]["code"] == answer.status_code


@pytest.mark.parametrize("operation", _FUZZED, ids=lambda operation: operation.id)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), version=st.sampled_from(["2.1", "2.37", "2.60", "2.104"]))
def test_bodies(cloud, operation, data, version):
    body = _like(operation.body, data.draw)
    if operation.action is not None:
        body = {operation.action: body.get(operation.action)}
    cloud.put_server(id="server_id")
    cloud.flavors.put(id="flavor_id", name="f")
    _sane(cloud.call(operation.method, _path(operation), body, version=version, token="admin"), operation)


@pytest.mark.parametrize("operation", _QUERIED, ids=lambda operation: operation.id)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), version=st.sampled_from(["2.1", "2.37", "2.83", "2.104"]))
def test_queries(cloud, operation, data, version):
    names = data.draw(st.lists(st.sampled_from([field.name for field in operation.query.fields]), max_size=4))
    query = [(name, data.draw(_TEXTS)) for name in names]
    answer = cloud.client.open(
        f"/v2.1{_path(operation)}",
        method="GET",
        query_string=query,
        headers={"X-Auth-Token": "admin", "OpenStack-API-Version": f"compute {version}"},
    )
    _sane(answer, operation)
