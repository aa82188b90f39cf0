"""Whatever is sent: an answer in the API's form, below 500, and what is refused has changed nothing. On each
database, as what one of them takes another may not."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protonova.gateway.schema import Arr, Obj
from tests.support.databases import EVERY, fresh
from tests.support.placement_cloud import AGGREGATE, CONSUMER, OTHER, REGISTRY, PlacementCloud, claim, problem

QUIET = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
HOST = "99999999-9999-9999-9999-999999999999"
MANY = 10_000


@pytest.fixture(scope="module", params=EVERY)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PlacementCloud]:
    """A host, a child below it, and a consumer."""
    for url in fresh(request.param, tmp_path_factory.mktemp("placement")):
        made = PlacementCloud(url)
        made.provider("host", {"VCPU": 8}, uuid=HOST)
        made.provider("child", {"VGPU": 2}, parent_provider_uuid=HOST)
        made.set_aggregates(HOST, AGGREGATE)
        made.hold(CONSUMER, {HOST: {"VCPU": 2}})
        yield made
        made.close()


ODD = st.sampled_from(
    [
        None, True, False, -1, 0, 1, 2**31 - 1, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63), 1.5, 1.0, -0.0, 1e308,
        "", " ", "0", "-1", "a", "\0", "é" * 300, "🌵", "x" * 70000, "CUSTOM_", "VCPU", "NOPE", HOST, HOST.upper(),
        "-" * 36, "'; --", "%s%n", "../..", [], {}, [[]], {"": {}}, {"VCPU": 1}, {"VCPU": {"total": 1}}, [HOST],
    ]
)  # fmt: skip
JSON = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["", "VCPU", HOST, CONSUMER, "uuid"]), inner, max_size=3)
    ),
    max_leaves=5,
)
BODIES = [operation for operation in REGISTRY.operations if operation.body is not None]
QUERIES = [operation for operation in REGISTRY.operations if operation.query.fields]
VERSIONS = st.sampled_from([f"1.{number}" for number in (0, 7, 12, 18, 27, 30, 38, 39)])


def path_of(operation):
    return operation.path.format(uuid=HOST, resource_class="VCPU", name="CUSTOM_A", consumer_uuid=CONSUMER)


def like(type_, draw, depth=0):
    """A value that is nearly what a type asks for: as it is, or with something odd in one place."""
    if depth > 5 or draw(st.integers(0, 4)) == 0:
        return draw(JSON)
    if isinstance(type_, Obj):
        fields = [field for field in type_.fields if field.required or draw(st.booleans())]
        return {field.name: like(field.type, draw, depth + 1) for field in fields}
    if isinstance(type_, Arr):
        return [like(type_.item, draw, depth + 1) for _ in range(draw(st.integers(0, 2)))]
    return draw(JSON)


class Witness:
    """Knows the state of a world, and looks anew only after something was let through."""

    def __init__(self, world: PlacementCloud) -> None:
        self._world = world
        self._known = world.state()

    def hear(self, answer):
        assert answer.status_code < 500, answer.text
        if answer.status_code < 400:
            self._known = self._world.state()
            return
        (error,) = answer.json["errors"]
        assert error["status"] == answer.status_code
        assert 0 < len(error["detail"]) <= 1000
        assert self._world.state() == self._known


@pytest.fixture
def witness(world):
    return Witness(world)


@pytest.mark.parametrize("operation", BODIES, ids=lambda operation: operation.id)
@QUIET
@given(data=st.data(), version=VERSIONS)
def test_bodies(world, witness, operation, data, version):
    token = "service" if operation.path == "/reshaper" else "admin"
    body = like(operation.body, data.draw)
    witness.hear(world.call(operation.method, path_of(operation), body, version=version, token=token))


@pytest.mark.parametrize("operation", QUERIES, ids=lambda operation: operation.id)
@QUIET
@given(data=st.data(), version=VERSIONS)
def test_queries(world, operation, data, version):
    names = [field.name for field in operation.query.fields] + [
        "resources",
        "required",
        "member_of",
        "in_tree",
    ]
    suffixes = st.sampled_from(["", "1", "_a", "\0", "é", "x" * 99])
    texts = st.sampled_from(
        ["", "VCPU:1", "VCPU:" + "9" * 99, "VCPU:-1", "VCPU", "in:", "!", "!in:", "in:!", ",", ":", "NOPE", "!NOPE",
         "HW_CPU_X86_AVX", f"in:{HOST}", f"!{HOST}", HOST, "1", "0", "none", "true", "\0", "é", "x" * 5000, "%"]
    )  # fmt: skip
    pairs = [
        (data.draw(st.sampled_from(names)) + data.draw(suffixes), data.draw(texts))
        for _ in range(data.draw(st.integers(1, 4)))
    ]
    answer = world.get(operation.path, query=urlencode(pairs), version=version)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        problem(answer, answer.status_code)


def ids(number):
    return [str(uuid.UUID(int=each)) for each in range(1, number + 1)]


def shape(world, **inventories):
    return {"resource_provider_generation": world.generation(HOST), "inventories": inventories}


def many_inventories(world):
    return {f"CUSTOM_{number}": {"total": 1} for number in range(MANY)}


LARGE = [
    ("PUT", f"/resource_providers/{HOST}/inventories", lambda w: shape(w, **many_inventories(w)), 400, "CUSTOM_"),
    ("PUT", f"/resource_providers/{HOST}/traits", lambda w: {
        "traits": [f"CUSTOM_{number}" for number in range(MANY)],
        "resource_provider_generation": w.generation(HOST),
    }, 400, "CUSTOM_"),
    ("PUT", f"/resource_providers/{HOST}/aggregates", lambda w: {
        "aggregates": [*ids(MANY), "x"], "resource_provider_generation": w.generation(HOST),
    }, 400, f"aggregates[{MANY}]"),
    ("PUT", f"/allocations/{OTHER}", lambda w: claim({each: {"VCPU": 1} for each in ids(MANY)}), 400, "provider"),
    ("PUT", f"/allocations/{OTHER}", lambda w: claim({HOST: {f"CUSTOM_{n}": 1 for n in range(MANY)}}), 400,
     "CUSTOM_"),
    ("POST", "/allocations", lambda w: dict.fromkeys(ids(MANY), claim({HOST: {"VCPU": 1}})), 409, "VCPU"),
    ("POST", "/reshaper", lambda w: {
        "inventories": {each: {"resource_provider_generation": 0, "inventories": {}} for each in ids(MANY)},
        "allocations": {},
    }, 400, "provider"),
    ("POST", "/reshaper", lambda w: {
        "inventories": {HOST: shape(w, VCPU={"total": 8})},
        "allocations": dict.fromkeys(ids(MANY), claim({HOST: {"VCPU": 1}})),
    }, 409, "VCPU"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "code", "word"), LARGE)
def test_ten_thousand_of_something(world, witness, method, path, body, code, word):
    answer = world.call(method, path, body(world), token="service")
    problem(answer, code, None, word)
    witness.hear(answer)


def test_ten_thousand_aggregates(world):
    """The one thing that nobody counts."""
    path = f"/resource_providers/{HOST}/aggregates"
    given = ids(MANY)
    body = {"aggregates": given, "resource_provider_generation": world.generation(HOST)}
    assert world.put(path, body).json["aggregates"] == given
    world.set_aggregates(HOST, AGGREGATE)


def test_thousands_of_consumers_at_once(world):
    """Who asks for what there is, gets it."""
    name = f"wide-{uuid.uuid4().hex}"
    consumers = ids(MANY // 5)
    wide = world.provider(name, {"VCPU": 2 * len(consumers)})
    given = dict.fromkeys(consumers, claim({wide: {"VCPU": 2}}))
    assert world.call("POST", "/allocations", given).status_code == 204
    assert world.get(f"/resource_providers/{wide}/usages").json["usages"] == {"VCPU": 2 * len(consumers)}
    nothing = dict.fromkeys(consumers, claim({}, generation=1))
    assert world.call("POST", "/allocations", nothing).status_code == 204
    assert world.call("DELETE", f"/resource_providers/{wide}").status_code == 204
