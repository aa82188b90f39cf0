"""Who reaches a share: a host, while any of its servers has the share; and what keeps the share from being deleted
meanwhile, once for each server.

Servers of a host have one access, and their operations run beside each other. So whoever gives a share back says
so in its record first, in a commit of its own, and looks at the others' afterwards: of two that give it back, one
sees that nobody is left. And because another server may have been given the share between that look and the end of
the access, it looks again after it and puts right what it did.
"""

from __future__ import annotations

from protonova.common.v1.server_pb2 import ServerShare
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.servers import shares
from protonova.services.runtime import errors
from protonova.services.runtime.openstack.share import Access
from protonova.services.runtime.operations import Run

_POLL_SECONDS = 0.2
_BEING_DENIED = ("queued_to_deny", "denying")
# Protocols, and by what their access rules name a host.
PROTOCOLS = {"NFS": "ip", "LOCAL": "ip"}


def allow(cell: Cell, run: Run, share: ServerShare, host: str) -> None:
    """Lets a host reach a share, waits until it does, and keeps the share. Raises `errors.FailedPrecondition`
    (SHARE_ACCESS_FAILED)."""
    access = _access(cell, share, host)
    if access is None:
        raise errors.FailedPrecondition(f"Host {host} is not known.", reason="HOST_NOT_READY", host=host)
    _open(cell, run, share.share_id, access)
    cell.outside.shares.lock(share.share_id, run.subject)


def give_back(cell: Cell, run: Run, share: ServerShare, host: str) -> None:
    """The server's record does not need the share any more. What is gone already is fine."""
    try:
        cell.outside.shares.unlock(share.share_id, run.subject)
        access = _access(cell, share, host)
        if access is not None:
            _close(cell, run, share, access)
    except errors.NotFound as error:
        if error.reason != "EXTERNAL_NOT_FOUND":
            raise


def _open(cell: Cell, run: Run, share_id: str, access: Access) -> None:
    service = cell.outside.shares
    tries = max(1, round(cell.conf.manila.share_apply_policy_timeout / _POLL_SECONDS))
    for _ in range(tries):
        rule = service.rule(share_id, access)
        if rule is None:
            service.allow(share_id, access)
            continue
        if rule.state == "active":
            return
        if rule.state == "error":
            if rule.ours:
                service.deny(share_id, rule)
            break
        run.wait(_POLL_SECONDS)
    raise errors.FailedPrecondition(
        f"The share service does not let {access.to} reach share {share_id}.",
        reason="SHARE_ACCESS_FAILED",
        share_id=share_id,
        access_to=access.to,
    )


def _close(cell: Cell, run: Run, share: ServerShare, access: Access) -> None:
    service = cell.outside.shares

    def needed() -> bool:
        """Hosts may have one address."""
        hosts = cell.db.read(lambda connection: shares.needed_on(connection, share.share_id, run.subject))
        return any(_access(cell, share, host) == access for host in hosts)

    if not needed():
        rule = service.rule(share.share_id, access)
        if rule is not None and rule.ours and rule.state not in _BEING_DENIED:
            service.deny(share.share_id, rule)
    if needed():
        _open(cell, run, share.share_id, access)


def _access(cell: Cell, share: ServerShare, host: str) -> Access | None:
    """How access rules name a host. None where there is no such host any more."""
    known = cell.host(host) if host else None
    if known is None:
        return None
    kind = PROTOCOLS.get(share.protocol, "ip")
    return Access(kind, known.report.share_ip or known.report.host_ip)
