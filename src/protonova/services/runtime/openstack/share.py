"""Shares, who may reach them and what keeps them, as the share service (Shared File Systems API v2) tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from oslo_config import cfg

from protonova.services.runtime import errors
from protonova.services.runtime.openstack.session import Client

# The first microversion in which access rules can be locked as they are made.
_VERSION = {"X-OpenStack-Manila-API-Version": "2.82"}
_REASON = "In use by a compute host."
# Says of an access rule that it is ours; one that its owner has made is left alone.
_MARK = {"compute": "protonova"}


@dataclass(frozen=True)
class Share:
    id: str
    status: str
    protocol: str
    project_id: str
    # Empty = it is not exported.
    export_location: str = ""


@dataclass(frozen=True)
class Access:
    """Who reaches a share, as access rules say it: ("ip", "192.0.2.7")."""

    type: str
    to: str


@dataclass(frozen=True)
class Rule:
    id: str
    state: str
    ours: bool


class Shares:
    """The share service."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._client = Client(conf, "shared-file-system", "manila", "", headers=_VERSION)

    def get(self, share_id: str) -> Share:
        """Raises `errors.NotFound`."""
        path = f"/shares/{quote(share_id, safe='')}"
        body = self._client.get(path)["share"]
        found = self._client.get(f"{path}/export_locations")["export_locations"]
        return Share(
            id=body["id"],
            status=body["status"],
            protocol=body["share_proto"],
            project_id=body.get("project_id") or "",
            export_location=_best(found),
        )

    def rule(self, share_id: str, access: Access) -> Rule | None:
        """The rule that lets somebody reach a share."""
        found = self._client.get("/share-access-rules", {"share_id": share_id})["access_list"]
        for body in found:
            if (body["access_type"], body["access_to"]) == (access.type, access.to):
                return Rule(body["id"], body["state"], _is_ours(body.get("metadata") or {}))
        return None

    def allow(self, share_id: str, access: Access) -> None:
        """Begins to let somebody read and write a share, by a rule that its owner neither sees in full nor removes.
        One that is there already is fine."""
        rule = {
            "access_type": access.type,
            "access_to": access.to,
            "access_level": "rw",
            "metadata": _MARK,
            "lock_visibility": True,
            "lock_deletion": True,
            "lock_reason": _REASON,
        }
        try:
            self._client.post(f"/shares/{quote(share_id, safe='')}/action", {"allow_access": rule})
        except (errors.InvalidArgument, errors.FailedPrecondition):
            if self.rule(share_id, access) is None:
                raise

    def deny(self, share_id: str, rule: Rule) -> None:
        """Begins to remove a rule. One that is gone, or whose share is, is fine."""
        body = {"deny_access": {"access_id": rule.id, "unrestrict": True}}
        try:
            self._client.post(f"/shares/{quote(share_id, safe='')}/action", body)
        except errors.NotFound:
            return

    def lock(self, share_id: str, server_id: str) -> None:
        """Keeps a share from being deleted, once for a server."""
        if self._locks(share_id, server_id):
            return
        lock = {
            "resource_id": share_id,
            "resource_type": "share",
            "resource_action": "delete",
            "lock_reason": _reason(server_id),
        }
        self._client.post("/resource-locks", {"resource_lock": lock})

    def unlock(self, share_id: str, server_id: str) -> None:
        """A share that is not locked for the server is fine."""
        for lock_id in self._locks(share_id, server_id):
            self._client.delete(f"/resource-locks/{lock_id}")

    def _locks(self, share_id: str, server_id: str) -> list[str]:
        query = {"resource_id": share_id, "resource_action": "delete", "all_projects": "true"}
        found = self._client.get("/resource-locks", query)["resource_locks"]
        return [body["id"] for body in found if body.get("lock_reason") == _reason(server_id)]


def _reason(server_id: str) -> str:
    return f"Attached to server {server_id}."


def _is_ours(metadata: Mapping[str, Any]) -> bool:
    return all(metadata.get(key) == value for key, value in _MARK.items())


def _best(locations: list[Any]) -> str:
    """The one the service would rather see used; never one that is its administrators' alone."""
    usable = [body for body in locations if not body.get("is_admin_only")]
    usable.sort(key=lambda body: not body.get("preferred"))
    return str(usable[0]["path"]) if usable else ""
