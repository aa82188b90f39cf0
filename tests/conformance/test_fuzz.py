"""Requests made up from our own OpenAPI documents, good and bad: nothing but declared answers and faults of the
right form comes back.

`FUZZ_EXAMPLES` says how many a route gets, `FUZZ_SEED` makes them others than last time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import strategies
from schemathesis import GenerationMode

from tests.conformance.conftest import Servers
from tests.support.rest import ELEMENTS, LATEST, Rest

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "4"))
SEED = os.environ.get("FUZZ_SEED")
# What every route may answer besides what its document says.
COMMON = {400, 403, 404, 409, 413, 415}


@pytest.fixture(scope="module")
def known(kept: Servers, admin: Rest, plaything: str) -> dict[str, list[str]]:
    """Path parameters that lead somewhere."""
    server = kept.boot(admin, "fuzzed", metadata={"a": "b"}, tags=["x"])["id"]
    (action,) = admin.get(f"/servers/{server}/os-instance-actions")["instanceActions"]
    return {
        "server_id": [server],
        "request_id": [action["request_id"]],
        "key": ["a"],
        "tag": ["x"],
        "flavor_id": [plaything],
        "project_id": [admin.project_id],
        "tenant_id": [admin.project_id],
        "hypervisor_id": [admin.get("/os-hypervisors")["hypervisors"][0]["id"], "1", "compute"],
        "alias": ["os-keypairs"],
    }


def _cases(operation: Any, known: dict[str, list[str]]) -> Any:
    """Half of them as declared, half against it; ids that exist, where nothing is lost by it."""
    modes = [GenerationMode.POSITIVE]
    if operation.body or operation.query:
        modes.append(GenerationMode.NEGATIVE)
    cases = strategies.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])
    if operation.method.upper() == "DELETE":
        return cases
    names = [parameter.name for parameter in operation.path_parameters if parameter.name in known]
    choices = strategies.fixed_dictionaries({name: strategies.sampled_from(known[name]) for name in names})

    def with_ids(drawn: tuple[Any, dict[str, str], bool]) -> Any:
        case, chosen, real = drawn
        if real and chosen:
            case.path_parameters = {**case.path_parameters, **chosen}
        return case

    return strategies.tuples(cases, choices, strategies.booleans()).map(with_ids)


def _check(operation: Any, response: requests.Response) -> None:
    what = f"{operation.label}: {response.status_code} {response.text[:300]}"
    declared = {int(code) for code in operation.definition.raw["responses"]}
    assert response.status_code in declared | COMMON, what
    if response.status_code >= 400:
        (element,) = response.json()
        assert element == ELEMENTS.get(response.status_code, "computeFault"), what
        assert response.json()[element]["code"] == response.status_code, what
        assert response.json()[element]["message"], what
    else:
        operation.validate_response(response)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield made


@pytest.mark.parametrize("version", ["2.1", "2.60", LATEST])
def test_documents(version: str, admin: Rest, known: dict[str, list[str]], session: requests.Session) -> None:
    document = admin.get(f"/openapi.json?microversion={version}", prefix="", version=None)
    del document["security"]  # tokens are not made up here
    headers = {"X-Auth-Token": admin.token, "OpenStack-API-Version": f"compute {version}"}
    failures = []
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = found.ok()

        def try_it(case: Any, operation: Any = operation) -> None:
            arguments = case.as_transport_kwargs(base_url=f"{admin.root}/v2.1", headers=headers)
            _check(operation, session.request(**arguments, timeout=30))

        try:
            _given(_cases(operation, known), operation.label, try_it)
        except (Exception, BaseExceptionGroup) as failure:  # noqa: BLE001 - all routes are tried
            failures.append(f"{operation.label}: {_told(failure)}")
    assert not failures, "\n".join(failures)


def _told(failure: BaseException) -> str:
    if isinstance(failure, BaseExceptionGroup):
        return "; ".join(_told(each) for each in failure.exceptions)
    return f"{failure}".strip()


def _given(cases: Any, label: str, try_it: Callable[[Any], None]) -> None:
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=SEED is None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=cases)
    def one(case: Any) -> None:
        try_it(case)

    one.__name__ = one.__qualname__ = label  # what is made up depends on the name
    (hypothesis.seed(f"{SEED} {label}")(one) if SEED else one)()
