"""Identity: tokens and what they tell, and the people and projects behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from keystoneauth1 import session as sessions
from keystoneauth1.exceptions import Unauthorized
from keystoneauth1.identity import v3
from openstack.connection import Connection
from openstack.exceptions import ConflictException, ForbiddenException

from .conftest import PASSWORDS, Companions


def shown(companions: Companions, token: str, asker: str, **query: Any) -> requests.Response:
    headers = {"X-Auth-Token": asker, "X-Subject-Token": token}
    return requests.get(
        f"{companions.url}/identity/v3/auth/tokens", headers=headers, params=query, timeout=30
    )


def test_a_token_tells_who_where_and_how_long(companions: Companions) -> None:
    answer = companions.sign_in("demo", "demo")
    assert answer.status_code == 201
    body = answer.json()["token"]
    assert body["user"]["name"] == "demo"
    assert body["user"]["domain"] == {"id": "default", "name": "Default"}
    assert body["project"]["name"] == "demo"
    assert body["is_domain"] is False
    assert body["methods"] == ["password"]
    assert len(body["audit_ids"]) == 1
    assert body["issued_at"] < body["expires_at"]
    assert {role["name"] for role in body["roles"]} == {"member", "reader"}
    types = {service["type"] for service in body["catalog"]}
    assert types == {
        "identity",
        "compute",
        "placement",
        "image",
        "network",
        "block-storage",
        "volumev3",
        "shared-file-system",
    }
    for service in body["catalog"]:
        assert {point["interface"] for point in service["endpoints"]} == {"public", "internal", "admin"}


def test_admin_implies_all_that_follows(companions: Companions) -> None:
    roles = companions.sign_in("admin", "admin").json()["token"]["roles"]
    assert {role["name"] for role in roles} == {"admin", "manager", "member", "reader"}


def test_services_validate_tokens_of_users(companions: Companions) -> None:
    service = companions.sign_in("nova", "service", PASSWORDS["service"]).headers["X-Subject-Token"]
    token = companions.token("demo")
    answer = shown(companions, token, service)
    assert answer.status_code == 200
    assert answer.headers["X-Subject-Token"] == token
    assert answer.json()["token"]["catalog"]
    assert "catalog" not in shown(companions, token, service, nocatalog="1").json()["token"]
    head = requests.head(answer.url, headers={"X-Auth-Token": service, "X-Subject-Token": token}, timeout=30)
    assert (head.status_code, head.content) == (200, b"")
    assert shown(companions, "no-such-token", service).status_code == 404
    assert shown(companions, companions.token("admin"), token).status_code == 403


def test_a_wrong_password_is_401_in_the_form_of_identity(companions: Companions) -> None:
    answer = companions.sign_in("demo", "demo", "wrong")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == 401
    assert answer.json()["error"]["title"] == "Unauthorized"
    assert companions.sign_in("nobody", "demo", "x").status_code == 401
    assert companions.sign_in("demo", "admin").status_code == 401


def test_a_token_without_a_scope_can_be_exchanged_for_one(companions: Companions) -> None:
    auth = v3.Password(
        f"{companions.url}/identity/v3", username="admin", password=PASSWORDS["admin"], user_domain_id="default",
        unscoped=True,
    )  # fmt: skip
    token = sessions.Session(auth).get_token()
    exchanged = v3.Token(
        f"{companions.url}/identity/v3", token=token, project_name="demo", project_domain_id="default"
    )
    session = sessions.Session(exchanged)
    access = exchanged.get_access(session)
    assert access.project_name == "demo"
    assert session.get_endpoint(service_type="network").startswith(companions.url)
    body = shown(companions, session.get_token(), companions.token()).json()["token"]
    assert body["methods"] == ["token", "password"]
    assert len(body["audit_ids"]) == 2


def test_domain_and_system_scopes(companions: Companions) -> None:
    plain = {"auth_url": f"{companions.url}/identity/v3", "username": "admin", "password": PASSWORDS["admin"]}
    for scope, kind in (({"domain_id": "default"}, "domain_id"), ({"system_scope": "all"}, "system")):
        auth = v3.Password(**plain, user_domain_id="default", **scope)
        access = auth.get_access(sessions.Session(auth))
        assert getattr(access, kind)
        assert "admin" in access.role_names


def test_a_revoked_token_is_no_longer_one(companions: Companions) -> None:
    token = companions.sign_in("demo", "demo").headers["X-Subject-Token"]
    headers = {"X-Auth-Token": token, "X-Subject-Token": token}
    url = f"{companions.url}/identity/v3/auth/tokens"
    assert requests.delete(url, headers=headers, timeout=30).status_code == 204
    assert shown(companions, token, companions.token()).status_code == 404
    assert requests.get(url, headers=headers, timeout=30).status_code == 401


def test_projects_users_and_roles(companions: Companions, admin: Connection, name: str) -> None:
    project = admin.identity.create_project(name=name, description="about", tags=["a", "b"])
    assert admin.identity.find_project(name).id == project.id
    assert admin.identity.update_project(project, description="more").description == "more"
    assert [found.id for found in admin.identity.projects(tags="a,b")] == [project.id]
    user = admin.identity.create_user(name=name, password="one", email="a@example.org")
    assert admin.identity.get_user(user).email == "a@example.org"
    with pytest.raises(ConflictException):
        admin.identity.create_user(name=name, password="one")
    role = admin.identity.create_role(name=name)
    assert companions.sign_in(name, name, "one").status_code == 401
    admin.identity.assign_project_role_to_user(project, user, role)
    assert admin.identity.validate_user_has_project_role(project, user, role)
    token = companions.sign_in(name, name, "one")
    assert [entry["name"] for entry in token.json()["token"]["roles"]] == [name]
    assignments = list(admin.identity.role_assignments(user_id=user.id, include_names=True))
    assert [(entry.role["name"], entry.scope["project"]["name"]) for entry in assignments] == [(name, name)]
    admin.identity.unassign_project_role_from_user(project, user, role)
    assert shown(companions, token.headers["X-Subject-Token"], companions.token()).status_code == 404
    for delete, thing in (
        (admin.identity.delete_role, role),
        (admin.identity.delete_user, user),
        (admin.identity.delete_project, project),
    ):
        delete(thing)
    assert admin.identity.find_user(name) is None


def test_roles_of_a_group_are_held_by_its_members(
    companions: Companions, admin: Connection, name: str
) -> None:
    project, user = (
        admin.identity.create_project(name=name),
        admin.identity.create_user(name=name, password="p"),
    )
    group = admin.identity.create_group(name=name)
    role = admin.identity.find_role("member")
    admin.identity.assign_project_role_to_group(project, group, role)
    assert companions.sign_in(name, name, "p").status_code == 401
    admin.identity.add_user_to_group(user, group)
    assert companions.sign_in(name, name, "p").status_code == 201
    effective = admin.identity.role_assignments(user_id=user.id, effective=True)
    held = {admin.identity.get_role(entry.role["id"]).name for entry in effective}
    assert held == {"member", "reader"}
    admin.identity.remove_user_from_group(user, group)
    assert companions.sign_in(name, name, "p").status_code == 401


def test_a_changed_password_ends_tokens(
    companions: Companions, new_project: Callable[..., Connection]
) -> None:
    mine = new_project()
    token, user_id = mine.session.get_token(), mine.current_user_id
    word = mine.config.config["auth"]["username"]
    body = {"user": {"original_password": word, "password": "other"}}
    url = f"{companions.url}/identity/v3/users/{user_id}/password"
    assert (
        requests.post(url, json={"user": {**body["user"], "original_password": "no"}}, timeout=30).status_code
        == 401
    )
    assert requests.post(url, json=body, timeout=30).status_code == 204
    assert shown(companions, token, companions.token()).status_code == 404
    assert companions.sign_in(word, word, word).status_code == 401
    assert companions.sign_in(word, word, "other").status_code == 201


def test_a_disabled_user_or_project_is_shut_out(
    companions: Companions, admin: Connection, new_project: Callable[..., Connection]
) -> None:
    for kind in ("user", "project"):
        mine = new_project()
        token = mine.session.get_token()
        if kind == "user":
            admin.identity.update_user(mine.current_user_id, is_enabled=False)
        else:
            admin.identity.update_project(mine.current_project_id, is_enabled=False)
        assert shown(companions, token, companions.token()).status_code == 404


def test_what_others_may_not(demo: Connection, admin: Connection) -> None:
    for refused in (
        lambda: list(demo.identity.users()),
        lambda: demo.identity.create_project(name="x"),
        lambda: demo.identity.get_user(admin.current_user_id),
        lambda: list(demo.identity.services()),
        lambda: demo.identity.get_project(admin.current_project_id),
    ):
        with pytest.raises(ForbiddenException):
            refused()
    assert demo.identity.get_user(demo.current_user_id).name == "demo"
    assert demo.identity.get_project(demo.current_project_id).name == "demo"
    assert [project.name for project in demo.identity.user_projects(demo.current_user_id)] == ["demo"]


def test_application_credentials_stand_for_their_user(
    companions: Companions, demo: Connection, name: str
) -> None:
    made = demo.identity.create_application_credential(demo.current_user_id, name, roles=[{"name": "reader"}])
    arguments = {"application_credential_id": made.id, "application_credential_secret": made.secret}
    auth = v3.ApplicationCredential(f"{companions.url}/identity/v3", **arguments)
    session = sessions.Session(auth)
    access = auth.get_access(session)
    assert (access.username, access.project_name, access.role_names) == ("demo", "demo", ["reader"])
    demo.identity.delete_application_credential(demo.current_user_id, made.id)
    token = session.get_token()
    assert shown(companions, token, companions.token()).status_code == 404
    with pytest.raises(Unauthorized):
        sessions.Session(v3.ApplicationCredential(f"{companions.url}/identity/v3", **arguments)).get_token()


def test_domains(admin: Connection, name: str) -> None:
    domain = admin.identity.create_domain(name=name)
    project = admin.identity.create_project(name="admin", domain_id=domain.id)
    with pytest.raises(ForbiddenException):
        admin.identity.delete_domain(domain)
    admin.identity.update_domain(domain, is_enabled=False)
    admin.identity.delete_domain(domain)
    assert admin.identity.find_project(project.id) is None


def test_the_catalog_can_be_extended(admin: Connection, companions: Companions, name: str) -> None:
    service = admin.identity.create_service(name=name, type=name)
    arguments = {"service_id": service.id, "interface": "public", "region_id": "RegionOne"}
    endpoint = admin.identity.create_endpoint(url="http://there/%(project_id)s", **arguments)
    catalog = companions.sign_in("demo", "demo").json()["token"]["catalog"]
    (entry,) = [entry for entry in catalog if entry["type"] == name]
    assert entry["endpoints"][0]["url"].startswith("http://there/")
    assert "%" not in entry["endpoints"][0]["url"]
    admin.identity.delete_endpoint(endpoint)
    admin.identity.delete_service(service)


def test_a_start_seeds_once_and_follows_the_settings(tmp_path: Any) -> None:
    first = Companions(tmp_path)
    first.start()
    before = {project.name: project.id for project in first.connect().identity.projects()}
    assert first.stop() == 0
    again = Companions(tmp_path, ("--public-url", "http://example.org:1234"))
    again.start()
    try:
        body = again.sign_in("admin", "admin").json()["token"]
        urls = {point["url"] for service in body["catalog"] for point in service["endpoints"]}
        assert "http://example.org:1234/identity" in urls
        assert all(url.startswith("http://example.org:1234/") for url in urls)
        assert body["project"]["id"] == before["admin"]
        assert sorted(before) == ["admin", "demo", "service"]
    finally:
        again.stop()


def test_keystoneauth_finds_every_service(admin: Connection, companions: Companions) -> None:
    for kind, version, path in (
        ("identity", "3", "/identity/v3"),
        ("image", "2", "/image/v2"),
        ("network", "2", "/network/v2.0"),
        ("block-storage", "3", "/volume/v3"),
    ):
        url = admin.session.get_endpoint(service_type=kind, version=version)
        assert url.rstrip("/") == f"{companions.url}{path}"
    data = admin.session.get_endpoint_data(service_type="block-storage", version="3")
    assert data.max_microversion == (3, 70)


def test_faults_of_identity(companions: Companions) -> None:
    answer = companions.call("GET", "/identity/v3/projects/no-such")
    assert answer.status_code == 404
    assert set(answer.json()["error"]) == {"code", "message", "title"}
    assert answer.headers["X-Openstack-Request-Id"].startswith("req-")
    assert companions.call("GET", "/identity/v3/nowhere").status_code == 404
    refused = companions.call("PUT", "/identity/v3/projects")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")
