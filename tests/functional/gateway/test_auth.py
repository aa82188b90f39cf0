"""Tokens, validated by the identity service and remembered as long as they may be."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from protonova.gateway.auth import IDENTITY, Authenticator
from protonova.services.runtime import config
from tests.support.keystone import Keystone


@pytest.fixture
def keystone():
    made = Keystone()
    yield made
    made.close()


@pytest.fixture
def ask(keystone):
    seen = []

    def application(environ, start_response):
        seen.append(environ[IDENTITY])
        start_response("200 OK", [])
        return [b""]

    conf = config.load(files=[])
    from keystoneauth1 import loading

    loading.register_auth_conf_options(conf, "keystone_authtoken")
    loader = loading.get_plugin_loader("password")
    conf.register_opts(loading.get_auth_plugin_conf_options(loader), group="keystone_authtoken")
    for name, value in {
        "auth_type": "password",
        "auth_url": keystone.url,
        "www_authenticate_uri": keystone.url,
        "username": "nova",
        "password": "x",
        "project_name": "service",
        "user_domain_id": "default",
        "project_domain_id": "default",
        "service_type": "compute",
        "http_request_max_retries": 0,
    }.items():
        conf.set_override(name, value, "keystone_authtoken")
    door = Authenticator(application, conf)

    def request(token=None, path="/v2.1/servers", method="GET", **headers):
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "SCRIPT_NAME": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": None,
            **headers,
        }
        if token:
            environ["HTTP_X_AUTH_TOKEN"] = token
        answers = []
        list(door(environ, lambda status, head, _=None: answers.append((int(status[:3]), dict(head)))))
        return (*answers[0], seen[-1] if answers[0][0] == 200 else None)

    return request


def test_without_a_token(ask, keystone):
    code, headers, _ = ask()
    assert code == 401
    assert headers["WWW-Authenticate"] == f'Keystone uri="{keystone.url}"'
    assert not keystone.validations


def test_unknown_tokens(ask):
    assert ask("nonsense")[0] == 401


def test_identity_of_a_token(ask, keystone):
    keystone.tokens["t"] = keystone.token("member", "reader")
    for _ in range(3):
        code, _, identity = ask("t")
        assert code == 200
        assert (identity.user_id, identity.project_id) == ("u1", "p1")
        assert identity.roles == ("member", "reader")
    assert keystone.validations == ["t"]


def test_headers_of_clients_are_not_believed(ask, keystone):
    keystone.tokens["t"] = keystone.token("reader")
    for _ in range(2):
        identity = ask("t", HTTP_X_ROLES="admin", HTTP_X_PROJECT_ID="other")[2]
        assert (identity.roles, identity.project_id) == (("reader",), "p1")


def test_expired_tokens_are_not_remembered(ask, keystone):
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    keystone.tokens["t"] = keystone.token("reader", expires=soon.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    assert ask("t")[0] == 200
    while datetime.now(UTC) <= soon:
        time.sleep(0.05)
    assert ask("t")[0] == 401


def test_tokens_bound_to_access_rules_are_looked_at_each_time(ask, keystone):
    rules = [{"id": "r", "method": "GET", "path": "/v2.1/servers", "service": "compute"}]
    credential = {"id": "a", "name": "a", "restricted": True, "access_rules": rules}
    keystone.tokens["t"] = keystone.token("reader", application_credential=credential)
    assert ask("t", HTTP_OPENSTACK_IDENTITY_ACCESS_RULES="1")[0] == 200
    assert ask("t", path="/v2.1/flavors")[0] == 401
    assert ask("t")[0] == 200


def test_service_tokens_bring_their_roles(ask, keystone):
    keystone.tokens["t"] = keystone.token("reader")
    keystone.tokens["s"] = keystone.token("service")
    identity = ask("t", HTTP_X_SERVICE_TOKEN="s")[2]
    assert identity.service_roles == ("service",)
    assert ask("t")[2].service_roles == ()


def test_identity_service_away(ask, keystone):
    keystone.broken = True
    assert ask("t")[0] == 503
