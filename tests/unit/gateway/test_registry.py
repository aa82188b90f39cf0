"""The registries of both APIs: windows, policies, schemas are whole and free of contradictions."""

from __future__ import annotations

import re
from itertools import combinations

import jsonschema
import pytest

from protonova.gateway import compute, openapi, placement
from protonova.gateway.operation import Registry
from protonova.gateway.policy import compute_rules, placement_rules
from protonova.gateway.schema import Arr, Either, Map, Obj
from protonova.gateway.versions import COMPUTE, PLACEMENT, Window

APIS = {
    "compute": (Registry(compute.RESOURCES), COMPUTE, compute_rules()),
    "placement": (Registry(placement.RESOURCES), PLACEMENT, placement_rules()),
}


@pytest.fixture(params=APIS)
def api(request):
    return APIS[request.param]


def _shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def test_windows_are_disjoint(api):
    registry, _, _ = api
    offered = {}
    for operation in registry.operations:
        key = (operation.method, _shape(operation.path), operation.action)
        offered.setdefault(key, []).append(operation)
    for key, operations in offered.items():
        for one, other in combinations(operations, 2):
            assert not one.window.overlaps(other.window), f"{key}: {one.id} and {other.id}"


def test_windows_lie_within_the_api(api):
    registry, version, _ = api
    for operation in registry.operations:
        assert any(number in operation.window for number in range(version.first, version.last + 1))


def test_a_path_is_written_in_one_way(api):
    registry, _, _ = api
    shapes = {}
    for path in registry.routes:
        assert shapes.setdefault(_shape(path), path) == path


def test_every_operation_has_a_code_at_each_of_its_versions(api):
    registry, version, _ = api
    for operation in registry.operations:
        for number in range(version.first, version.last + 1):
            if number in operation.window:
                assert 200 <= operation.code(number) <= 501


def test_policies_are_declared(api):
    registry, _, rules = api
    names = {rule.name for rule in rules}
    for operation in registry.operations:
        assert operation.policy is None or operation.policy in names, operation.id


def test_rules_are_declared_once(api):
    _, _, rules = api
    names = [rule.name for rule in rules]
    assert len(names) == len(set(names))


def test_counts_of_rules():
    assert len([rule for rule in compute_rules() if ":" in rule.name]) == 203
    assert len([rule for rule in placement_rules() if ":" in rule.name]) == 33


def test_action_bodies_hold_the_action(api):
    registry, _, _ = api
    for operation in registry.operations:
        if operation.action is not None:
            assert operation.action in {field.name for field in operation.body.fields}


def _objects(type_):
    """All objects inside a type."""
    if isinstance(type_, Obj):
        yield type_
        for field in type_.fields:
            yield from _objects(field.type)
    elif isinstance(type_, Arr):
        yield from _objects(type_.item)
    elif isinstance(type_, Map):
        yield from _objects(type_._value)
    elif isinstance(type_, Either):
        for option in type_._options:
            yield from _objects(option)


def test_fields_of_one_name_exist_in_turn(api):
    registry, _, _ = api
    for operation in registry.operations:
        for declared in (operation.body, operation.answer):
            for obj in _objects(declared):
                for one, other in combinations(obj.fields, 2):
                    if one.name == other.name and one.when == other.when:
                        assert not one.window.overlaps(other.window), f"{operation.id}: {one.name}"


def test_parameters_of_one_name_exist_in_turn(api):
    registry, _, _ = api
    for operation in registry.operations:
        for one, other in combinations(operation.query.fields, 2):
            assert one.name != other.name or not one.window.overlaps(other.window), operation.id


def test_schemas_are_schemas(api):
    registry, version, _ = api
    for operation in registry.operations:
        for declared in (operation.body, operation.answer):
            if declared is not None:
                for number in (version.first, version.last):
                    jsonschema.Draft202012Validator.check_schema(declared.schema(number))
        if operation.validators is not None:
            for number in range(version.first, version.last + 1):
                operation.validators.at(number)


@pytest.mark.parametrize("number", range(COMPUTE.first, COMPUTE.last + 1, 9))
def test_openapi_documents(number):
    registry = APIS["compute"][0]
    document = openapi.describe(registry, number)
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == f"2.{number}"
    identifiers = []
    for path, methods in document["paths"].items():
        named = set(re.findall(r"\{(\w+)\}", path))
        assert {parameter["name"] for parameter in methods.get("parameters", [])} == named
        for method, operation in methods.items():
            if method == "parameters":
                continue
            identifiers.append((operation["operationId"], method, path))
            assert operation["responses"]
            for response in operation["responses"].values():
                if "$ref" in response:
                    assert response["$ref"].rpartition("/")[2] in document["components"]["responses"]
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                jsonschema.Draft202012Validator.check_schema(schema)
    names = [name for name, _, _ in identifiers]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("2.19-", (19, 104), (1, 18)),
        ("2.1-2.35", (1, 35), (36,)),
        ("2.32,2.42-", (32, 42, 104), (31, 33, 41)),
        ("2.1", (1,), (2,)),
    ],
)
def test_windows_are_read(text, inside, outside):
    window = Window.parse(text)
    assert all(number in window for number in inside)
    assert not any(number in window for number in outside)
