"""The Placement API over the real placement service on a database of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jsonschema
from werkzeug.test import Client, TestResponse

from protonova.gateway import placement
from protonova.gateway.app import Gateway
from protonova.gateway.operation import Registry
from protonova.gateway.versions import PLACEMENT
from protonova.services.placement import main as service
from protonova.services.runtime import config
from protonova.services.runtime.server import Server
from tests.support.identity import TokenTable

REGISTRY = Registry(placement.RESOURCES)
OLDEST, NEWEST = PLACEMENT.minimum, PLACEMENT.maximum
# Things that are nowhere.
MISSING = "00000000-0000-0000-0000-00000000ffff"
AGGREGATE = "11111111-1111-1111-1111-111111111111"
OTHER_AGGREGATE = "11111111-1111-1111-1111-222222222222"
CONSUMER = "22222222-2222-2222-2222-222222222222"
OTHER = "33333333-3333-3333-3333-333333333333"


def minor(version: str) -> int:
    return PLACEMENT.last if version == "latest" else int(version.partition(".")[2])


def problem(answer: TestResponse, code: int, name: str | None = None, *words: str) -> dict[str, Any]:
    """The one error of an answer in the API's form: with this code (and, from 1.23, name), naming these words."""
    assert answer.status_code == code, answer.text
    (error,) = answer.json["errors"]
    assert error["status"] == code
    assert error["title"]
    assert error["detail"]
    assert error["request_id"] == answer.headers["x-openstack-request-id"]
    if name is not None:
        assert error["code"] == name, error
    for word in words:
        assert word in error["detail"], error
    assert len(error["detail"]) < 1200
    found: dict[str, Any] = error
    return found


class PlacementCloud:
    """Calls are made as an administrator unless they say otherwise, at the newest version unless they name one."""

    def __init__(self, database: str, **options: Any) -> None:
        conf = config.load(files=[], placement_database__connection=database, **options)
        self._server = Server(conf, "placement", "127.0.0.1:0")
        service.build(conf, self._server)
        self._server.start()
        settings = config.load(files=[], placement__target=self._server.address)
        self.gateway = Gateway(settings, protect=TokenTable)
        self.client = Client(self.gateway.placement)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        version: str | None = NEWEST,
        token: str | None = "admin",
        headers: dict[str, str] | None = None,
        content_type: str | None = None,
        data: bytes | None = None,
        query: str | None = None,
    ) -> TestResponse:
        sent = {"OpenStack-API-Version": f"placement {version}"} if version else {}
        sent.update(headers or {})
        if token:
            sent["X-Auth-Token"] = token
        if body is not None:
            data, content_type = json.dumps(body).encode(), content_type or "application/json"
        environ = {} if query is None else {"QUERY_STRING": query}
        answer = self.client.open(
            path,
            method=method,
            headers=sent,
            data=data,
            content_type=content_type,
            environ_overrides=environ,
        )
        if answer.status_code in (200, 201) and answer.data:
            _hold_to_declaration(method, path.partition("?")[0], version or OLDEST, answer)
        return answer

    def get(self, path: str, **rest: Any) -> TestResponse:
        return self.call("GET", path, **rest)

    def put(self, path: str, body: Any = None, **rest: Any) -> TestResponse:
        return self.call("PUT", path, body, **rest)

    def provider(self, name: str, inventories: dict[str, Any] | None = None, **fields: Any) -> str:
        """A new provider, with these amounts of these classes."""
        made = self.call("POST", "/resource_providers", {"name": name, **fields})
        assert made.status_code == 200, made.json
        identifier: str = made.json["uuid"]
        if inventories:
            body = {
                "resource_provider_generation": 0,
                "inventories": {name: {"total": total} for name, total in inventories.items()},
            }
            answer = self.put(f"/resource_providers/{identifier}/inventories", body)
            assert answer.status_code == 200, answer.json
        return identifier

    def generation(self, identifier: str) -> int:
        generation: int = self.get(f"/resource_providers/{identifier}").json["generation"]
        return generation

    def hold(self, consumer: str, providers: Mapping[str, Mapping[str, int]], **fields: Any) -> None:
        """A new consumer's allocations."""
        answer = self.put(f"/allocations/{consumer}", claim(providers, **fields))
        assert answer.status_code == 204, answer.json

    def set_traits(self, identifier: str, *traits: str) -> None:
        body = {"resource_provider_generation": self.generation(identifier), "traits": list(traits)}
        answer = self.put(f"/resource_providers/{identifier}/traits", body)
        assert answer.status_code == 200, answer.json

    def set_aggregates(self, identifier: str, *aggregates: str) -> None:
        body = {"resource_provider_generation": self.generation(identifier), "aggregates": list(aggregates)}
        answer = self.put(f"/resource_providers/{identifier}/aggregates", body)
        assert answer.status_code == 200, answer.json

    def state(self) -> dict[str, Any]:
        """Everything there is, as the API tells it."""
        providers = {
            each["uuid"]: each for each in self.get("/resource_providers").json["resource_providers"]
        }
        found: dict[str, Any] = {}
        consumers: set[str] = set()
        for uuid, provider in providers.items():
            path = f"/resource_providers/{uuid}"
            parts = {part: self.get(f"{path}/{part}").json for part in PARTS}
            consumers |= parts["allocations"]["allocations"].keys()
            found[uuid] = {"provider": provider, **parts}
        found["consumers"] = {each: self.get(f"/allocations/{each}").json for each in sorted(consumers)}
        found["classes"] = self.get("/resource_classes").json
        found["traits"] = self.get("/traits").json
        return found

    def empty(self) -> None:
        """Takes away everything that tests have made."""
        providers = self.get("/resource_providers").json["resource_providers"]
        for provider in providers:
            held = self.get(f"/resource_providers/{provider['uuid']}/allocations").json["allocations"]
            for consumer in held:
                assert self.call("DELETE", f"/allocations/{consumer}").status_code == 204
        parents = {provider["uuid"]: provider["parent_provider_uuid"] for provider in providers}
        while parents:
            for leaf in parents.keys() - set(parents.values()):
                assert self.call("DELETE", f"/resource_providers/{leaf}").status_code == 204
                del parents[leaf]
        for each in self.get("/resource_classes").json["resource_classes"]:
            if each["name"].startswith("CUSTOM_"):
                assert self.call("DELETE", f"/resource_classes/{each['name']}").status_code == 204
        for name in self.get("/traits?name=startswith:CUSTOM_").json["traits"]:
            assert self.call("DELETE", f"/traits/{name}").status_code == 204

    def close(self) -> None:
        self.gateway.close()
        self._server.stop(0)


PARTS = ("inventories", "usages", "aggregates", "traits", "allocations")


def claim(
    providers: Mapping[str, Mapping[str, int]],
    version: str = NEWEST,
    generation: int | None = None,
    type_: str = "INSTANCE",
    project: str = "p",
    user: str = "u",
    **more: Any,
) -> dict[str, Any]:
    """What one consumer is to hold, in the form of a version."""
    held: Any = {provider: {"resources": dict(amounts)} for provider, amounts in providers.items()}
    if minor(version) < 12:
        held = [{"resource_provider": {"uuid": uuid}, **each} for uuid, each in held.items()]
    built: dict[str, Any] = {"allocations": held}
    if minor(version) >= 8:
        built |= {"project_id": project, "user_id": user}
    if minor(version) >= 28:
        built["consumer_generation"] = generation
    if minor(version) >= 38:
        built["consumer_type"] = type_
    return {**built, **more}


def _hold_to_declaration(method: str, path: str, version: str, answer: TestResponse) -> None:
    parts = path.strip("/").split("/")
    number = minor(version)
    for template, route in REGISTRY.routes.items():
        names = template.strip("/").split("/")
        if len(names) == len(parts) and all(
            name.startswith("{") or name == part for name, part in zip(names, parts, strict=True)
        ):
            operation = route.find(method, number)
            assert operation is not None
            assert operation.answer is not None, f"{method} {path} declares no answer"
            jsonschema.Draft202012Validator(operation.answer.schema(number)).validate(answer.get_json())
