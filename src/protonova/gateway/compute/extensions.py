"""The list of extensions: what the API was extended by before microversions, kept for clients that still ask."""

from __future__ import annotations

from typing import Any

from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import LINKS, STRING, TIME, Arr, Field, Obj

RULE = "os_compute_api:extensions"
UPDATED = "2014-12-03T00:00:00Z"
NAMESPACE = "https://docs.openstack.org/compute/ext/"

extensions = Resource("extensions")

# Alias → name and what it brought.
EXTENSIONS = {
    "NMN": ("Multinic", "Fixed addresses added to and taken from servers."),
    "OS-DCF": ("DiskConfig", "How the root disk is partitioned."),
    "OS-EXT-AZ": ("ExtendedAvailabilityZone", "The zone of a server."),
    "OS-EXT-IMG-SIZE": ("ImageSize", "The size of an image."),
    "OS-EXT-IPS": ("ExtendedIps", "The kind of an address."),
    "OS-EXT-IPS-MAC": ("ExtendedIpsMac", "The MAC address an address belongs to."),
    "OS-EXT-SRV-ATTR": ("ExtendedServerAttributes", "Inner attributes of servers."),
    "OS-EXT-STS": ("ExtendedStatus", "The states behind a server's status."),
    "OS-FLV-DISABLED": ("FlavorDisabled", "Whether a flavor is disabled."),
    "OS-FLV-EXT-DATA": ("FlavorExtraData", "The ephemeral disk of a flavor."),
    "OS-SCH-HNT": ("SchedulerHints", "Hints for the scheduler."),
    "OS-SRV-USG": ("ServerUsage", "When a server was launched and ended."),
    "os-admin-actions": ("AdminActions", "Actions for administrators."),
    "os-aggregates": ("Aggregates", "Aggregates of hosts."),
    "os-assisted-volume-snapshots": ("AssistedVolumeSnapshots", "Snapshots made by the hypervisor."),
    "os-attach-interfaces": ("AttachInterfaces", "Network interfaces of servers."),
    "os-availability-zone": ("AvailabilityZone", "Availability zones."),
    "os-block-device-mapping-v2-boot": ("BlockDeviceMappingV2Boot", "Disks of a new server, described freely."),
    "os-config-drive": ("ConfigDrive", "Metadata on a drive of the server."),
    "os-console-auth-tokens": ("ConsoleAuthTokens", "Where console tokens lead."),
    "os-console-output": ("ConsoleOutput", "The console log."),
    "os-consoles": ("Consoles", "Access to consoles."),
    "os-create-backup": ("CreateBackup", "Backup images that rotate."),
    "os-deferred-delete": ("DeferredDelete", "Servers that can be brought back."),
    "os-evacuate": ("Evacuate", "Servers of a failed host built elsewhere."),
    "os-extended-volumes": ("ExtendedVolumes", "The volumes of a server."),
    "os-flavor-access": ("FlavorAccess", "Who may use private flavors."),
    "os-flavor-extra-specs": ("FlavorExtraSpecs", "Extra specs of flavors."),
    "os-flavor-manage": ("FlavorManage", "Flavors created and deleted."),
    "os-hosts": ("Hosts", "The hosts, as older clients know them."),
    "os-hypervisors": ("Hypervisors", "The hypervisors."),
    "os-instance-actions": ("InstanceActions", "What was done to servers."),
    "os-instance_usage_audit_log": ("OSInstanceUsageAuditLog", "The audits of usage."),
    "os-keypairs": ("Keypairs", "Key pairs of users."),
    "os-lock-server": ("LockServer", "Servers locked against changes."),
    "os-migrate-server": ("MigrateServer", "Servers moved to other hosts."),
    "os-migrations": ("Migrations", "The migrations."),
    "os-multiple-create": ("MultipleCreate", "Several servers by one request."),
    "os-pause-server": ("PauseServer", "Servers paused."),
    "os-quota-class-sets": ("QuotaClasses", "Limits of quota classes."),
    "os-quota-sets": ("Quotas", "Limits of projects and users."),
    "os-remote-consoles": ("RemoteConsoles", "Consoles through proxies."),
    "os-rescue": ("Rescue", "Servers started from a rescue image."),
    "os-security-groups": ("SecurityGroups", "Security groups of servers."),
    "os-server-diagnostics": ("ServerDiagnostics", "Diagnostics of servers."),
    "os-server-external-events": ("ServerExternalEvents", "Events told by other services."),
    "os-server-groups": ("ServerGroups", "Groups of servers."),
    "os-server-password": ("ServerPassword", "Encrypted administrator passwords."),
    "os-services": ("Services", "The compute services."),
    "os-shelve": ("Shelve", "Servers shelved."),
    "os-simple-tenant-usage": ("SimpleTenantUsage", "What projects have used."),
    "os-suspend-server": ("SuspendServer", "Servers suspended."),
    "os-used-limits": ("UsedLimits", "What is used of limits."),
    "os-user-data": ("UserData", "Data given to a new server."),
    "os-volumes": ("Volumes", "Volumes and their attachments."),
}  # fmt: skip

EXTENSION = Obj(
    Field("alias", STRING, required=True),
    Field("description", STRING, required=True),
    Field("links", LINKS, required=True),
    Field("name", STRING, required=True),
    Field("namespace", STRING, required=True),
    Field("updated", TIME, required=True),
)


def _shown(alias: str) -> dict[str, Any]:
    name, description = EXTENSIONS[alias]
    return {
        "alias": alias,
        "description": description,
        "links": [],
        "name": name,
        "namespace": f"{NAMESPACE}{alias.lower()}",
        "updated": UPDATED,
    }


@extensions.get(
    "/extensions", "index", policy=RULE, answer=Obj(Field("extensions", Arr(EXTENSION), required=True))
)
def index(_: Request) -> dict[str, Any]:
    """List extensions."""
    return {"extensions": [_shown(alias) for alias in sorted(EXTENSIONS)]}


@extensions.get(
    "/extensions/{alias}", "show", policy=RULE, answer=Obj(Field("extension", EXTENSION, required=True))
)
def show(request: Request) -> dict[str, Any]:
    """Show an extension."""
    alias = request.args["alias"]
    if alias not in EXTENSIONS:
        raise Fault(404, f"There is no extension '{alias}'.")
    return {"extension": _shown(alias)}
