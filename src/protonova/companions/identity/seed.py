"""What a cloud starts with. Every start brings it about again: what is there stays, settings are followed."""

import sqlite3
import uuid
from functools import lru_cache

from protonova.companions import store
from protonova.companions.identity import passwords
from protonova.companions.identity.domains import DEFAULT
from protonova.companions.settings import Settings

ROLES = ("admin", "manager", "member", "reader", "service")
IMPLIES = (("admin", "manager"), ("manager", "member"), ("member", "reader"))
INTERFACES = ("admin", "internal", "public")


def _ensure(db: sqlite3.Connection, table: str, keys: store.Row, rest: store.Row) -> str:
    row = store.find(db, table, **keys)
    if row is None:
        row = {"id": uuid.uuid4().hex, **keys, **rest}
        store.insert(db, table, row)
    ident: str = row["id"]
    return ident


def seed(db: sqlite3.Connection, settings: Settings) -> None:
    _ensure(
        db, "domains", {"id": DEFAULT}, {"name": "Default", "description": "The default domain", "enabled": 1}
    )
    roles = {
        name: _ensure(db, "roles", {"name": name, "domain_id": None}, {"description": ""}) for name in ROLES
    }
    for prior, implied in IMPLIES:
        row = {"prior_id": roles[prior], "implied_id": roles[implied]}
        store.insert(db, "implied_roles", row, ignore=True)
    projects = {
        name: _ensure(
            db,
            "projects",
            {"name": name, "domain_id": DEFAULT},
            {"parent_id": DEFAULT, "description": description, "enabled": 1},
        )
        for name, description in (
            ("admin", "For administrators"),
            ("demo", "For trying things out"),
            ("service", "The services of the cloud"),
        )
    }
    admin_id = _user(db, "admin", settings.admin_password, projects["admin"])
    demo_id = _user(db, "demo", settings.demo_password, projects["demo"])
    grants = [
        (admin_id, "project", projects["admin"], "admin"),
        (admin_id, "project", projects["demo"], "admin"),
        (admin_id, "domain", DEFAULT, "admin"),
        (admin_id, "system", "system", "admin"),
        (demo_id, "project", projects["demo"], "member"),
    ]
    for name in settings.service_users:
        user_id = _user(db, name, settings.service_password, None)
        grants += [(user_id, "project", projects["service"], role) for role in ("admin", "service")]
    for user_id, kind, target_id, role in grants:
        row = {
            "target_kind": kind,
            "target_id": target_id,
            "actor_kind": "user",
            "actor_id": user_id,
            "role_id": roles[role],
        }
        store.insert(db, "assignments", row, ignore=True)
    _catalog(db, settings)


@lru_cache(maxsize=4)
def _hashed(password: str) -> str:
    """Users that share a password by the settings share its hash: one derivation at a start instead of one each."""
    return passwords.hashed(password)


def _user(db: sqlite3.Connection, name: str, password: str, project_id: str | None) -> str:
    row = store.find(db, "users", name=name, domain_id=DEFAULT)
    if row is None:
        row = {
            "id": uuid.uuid4().hex,
            "name": name,
            "domain_id": DEFAULT,
            "enabled": 1,
            "password": _hashed(password),
            "default_project_id": project_id,
            "extra": "{}",
        }
        store.insert(db, "users", row)
    elif not passwords.matches(password, row["password"]):
        store.update(db, "users", {"password": _hashed(password)}, id=row["id"])
        store.delete(db, "tokens", user_id=row["id"])
    ident: str = row["id"]
    return ident


def _catalog(db: sqlite3.Connection, settings: Settings) -> None:
    store.insert(db, "regions", {"id": settings.region, "description": ""}, ignore=True)
    url = settings.public_url
    for type_, name, address in (
        ("identity", "keystone", f"{url}/identity"),
        ("compute", "nova", settings.compute_url),
        ("placement", "placement", settings.placement_url),
        ("image", "glance", settings.image_url),
        ("network", "neutron", f"{url}/network"),
        ("block-storage", "cinder", f"{url}/volume/v3"),
        ("volumev3", "cinderv3", f"{url}/volume/v3"),
        ("shared-file-system", "manila", f"{url}/share/v2"),
    ):
        service_id = _ensure(db, "services", {"type": type_, "name": name}, {"description": "", "enabled": 1})
        for interface in INTERFACES:
            keys = {"service_id": service_id, "interface": interface, "region_id": settings.region}
            endpoint_id = _ensure(db, "endpoints", keys, {"url": address, "enabled": 1})
            store.update(db, "endpoints", {"url": address}, id=endpoint_id)
