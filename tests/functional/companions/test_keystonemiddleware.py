"""keystonemiddleware, as services use it, stands on the tokens of Identity."""

from __future__ import annotations

from typing import Any

import pytest
from keystonemiddleware.auth_token import AuthProtocol
from werkzeug.test import Client

from .conftest import PASSWORDS, Companions


def told(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """A service that answers with what the middleware says of the caller."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    names = ("HTTP_X_USER_NAME", "HTTP_X_PROJECT_NAME", "HTTP_X_ROLES", "HTTP_X_IDENTITY_STATUS")
    return ["|".join(environ.get(name, "") for name in names).encode()]


@pytest.fixture(scope="module")
def protected(companions: Companions) -> Client:
    options = {
        "www_authenticate_uri": f"{companions.url}/identity",
        "auth_url": f"{companions.url}/identity",
        "auth_type": "password",
        "username": "nova",
        "password": PASSWORDS["service"],
        "project_name": "service",
        "user_domain_id": "default",
        "project_domain_id": "default",
        "service_token_roles": "service",
        "service_token_roles_required": True,
        "token_cache_time": -1,
    }
    return Client(AuthProtocol(told, options))


def test_a_token_is_validated(companions: Companions, protected: Client) -> None:
    answer = protected.get("/", headers={"X-Auth-Token": companions.token("demo")})
    name, project, roles, status = answer.text.split("|")
    assert (name, project, status) == ("demo", "demo", "Confirmed")
    assert set(roles.split(",")) == {"member", "reader"}


def test_anything_else_is_refused(protected: Client) -> None:
    for headers in ({}, {"X-Auth-Token": "made-up"}):
        answer = protected.get("/", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Keystone uri=")


def test_a_service_token_beside_the_users(companions: Companions, protected: Client) -> None:
    service = companions.sign_in("cinder", "service", PASSWORDS["service"]).headers["X-Subject-Token"]
    headers = {"X-Auth-Token": companions.token("demo"), "X-Service-Token": service}
    assert protected.get("/", headers=headers).status_code == 200
    headers["X-Service-Token"] = companions.token("demo")
    assert protected.get("/", headers=headers).status_code == 401
