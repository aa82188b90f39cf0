"""The OpenAPI document of every microversion, derived from the same declarations the requests are checked by."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from protonova.gateway.operation import Operation, Registry
from protonova.gateway.schema import Arr
from protonova.gateway.versions import COMPUTE

_ERRORS = {
    400: "The request is malformed.",
    401: "There is no valid token.",
    403: "Policy does not allow it.",
    404: "It does not exist, or not at this version.",
    409: "The state of things forbids it.",
}
# What some operations may answer besides.
_OTHERS = {
    201: "It was made.",
    207: "Some of it failed; each part has a code of its own.",
    501: "The hypervisor cannot do it.",
}


def documents(registry: Registry) -> Callable[[str | None], dict[str, Any]]:
    """The function that answers with the document of a version (the latest by default)."""
    kept: dict[int, dict[str, Any]] = {}

    def document(asked: str | None) -> dict[str, Any]:
        version = COMPUTE.last if asked in (None, "", "latest") else COMPUTE.parse(str(asked))
        if version not in kept:
            kept[version] = describe(registry, version)
        return kept[version]

    return document


def describe(registry: Registry, version: int) -> dict[str, Any]:
    """The OpenAPI 3.1 document of one version."""
    paths: dict[str, dict[str, Any]] = {}
    for path, route in registry.routes.items():
        methods: dict[str, Any] = {}
        for method, operations in route.plain.items():
            for operation in operations:
                if version in operation.window:
                    methods[method.lower()] = _plain(operation, version)
        for method, actions in route.actions.items():
            offered = [
                operation
                for operations in actions.values()
                for operation in operations
                if version in operation.window
            ]
            if offered:
                methods[method.lower()] = _actions(path, offered, version)
        if methods:
            if parameters := _path_parameters(path):
                methods["parameters"] = parameters
            paths[path] = methods
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Compute API",
            "version": COMPUTE.text(version),
            "description": "The microversion of this document is asked for by the header OpenStack-API-Version.",
        },
        "servers": [{"url": "/v2.1"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
            "responses": {str(code): _fault(text) for code, text in _ERRORS.items()},
        },
    }


def _plain(operation: Operation, version: int) -> dict[str, Any]:
    built: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.id.partition(".")[0]],
        "responses": _responses([operation], version),
    }
    parameters = [
        {
            "name": field.name,
            "in": "query",
            "schema": field.type.schema(version) if field.once else Arr(field.type).schema(version),
        }
        for field in operation.query.fields
        if version in field.window and operation.method == "GET"
    ]
    if parameters:
        built["parameters"] = parameters
    if operation.body is not None:
        built["requestBody"] = _json(operation.body.schema(version), required=True)
    return built


def _actions(path: str, offered: list[Operation], version: int) -> dict[str, Any]:
    bodies = [operation.body.schema(version) for operation in offered if operation.body is not None]
    return {
        "operationId": path.strip("/").replace("/", ".").replace("{", "").replace("}", ""),
        "summary": f"One of the actions {', '.join(str(operation.action) for operation in offered)}.",
        "tags": [path.split("/")[1]],
        "requestBody": _json({"oneOf": bodies}, required=True),
        "responses": _responses(offered, version),
    }


def _responses(operations: list[Operation], version: int) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    by_code: dict[str, list[dict[str, Any]]] = {}
    silent: set[str] = set()
    for operation in operations:
        code = str(operation.code(version))
        schemas = by_code.setdefault(code, [])
        if operation.answer is not None:
            schemas.append(operation.answer.schema(version))
        else:
            silent.add(code)
    for code, schemas in by_code.items():
        responses[code] = {"description": "It is done, or accepted."}
        if len(schemas) == 1 and len(operations) == 1:
            responses[code] |= _json(schemas[0])
        elif schemas and code in silent:
            # Some actions answer with nothing, for which there is no word beside content.
            responses[code]["x-content"] = _json({"anyOf": schemas})["content"]
        elif schemas:
            responses[code] |= _json({"anyOf": schemas})
    for other in sorted({code for operation in operations for code in operation.also}):
        responses.setdefault(
            str(other), _fault(_OTHERS[other]) if other >= 400 else {"description": _OTHERS[other]}
        )
    for error in _ERRORS:
        responses.setdefault(str(error), {"$ref": f"#/components/responses/{error}"})
    return responses


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _json(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}, **more}


def _fault(text: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {
            "type": "object",
            "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
        },
    }
    return {"description": text, **_json(schema)}
