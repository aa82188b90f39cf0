"""Lists of servers: filters and who may use them since when, order, pages."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from protonova.common.v1 import server_pb2 as pb
from protonova.common.v1 import server_query_pb2 as query
from protonova.services.runtime import errors
from tests.support.identity import OTHER_PROJECT, PROJECT


@pytest.fixture
def asked(cloud):
    return lambda: cloud.servers.requests[-1]


def test_own_project_only(cloud, asked):
    mine = cloud.put_server()
    cloud.put_server(project_id=OTHER_PROJECT)
    for token in ("member", "admin"):
        assert [each["id"] for each in cloud.get("/servers", token=token).json["servers"]] == [mine.id]
    assert asked().filter.project_id == PROJECT


def test_all_projects(cloud, asked):
    cloud.put_server()
    cloud.put_server(project_id=OTHER_PROJECT)
    assert cloud.get("/servers?all_tenants=1").status_code == 403
    assert cloud.get("/servers/detail?all_tenants=True").status_code == 403
    assert cloud.get("/servers?all_tenants=0").status_code == 200
    for text in ("all_tenants=1", "all_tenants=", "all_tenants=yes"):
        assert len(cloud.get(f"/servers?{text}", token="admin").json["servers"]) == 2
    assert cloud.get("/servers?all_tenants=what", token="admin").status_code == 400
    one = cloud.get(f"/servers?all_tenants=1&project_id={OTHER_PROJECT}", token="admin").json["servers"]
    assert len(one) == 1
    assert asked().filter.project_id == OTHER_PROJECT
    cloud.get(f"/servers?tenant_id={OTHER_PROJECT}", token="admin")
    assert asked().filter.project_id == PROJECT


# Filter → value, the field it compares, and the first version open to everybody (None: administrators only).
TEXTS = {
    "user_id": ("u", "user_id", 83),
    "launch_index": ("1", "launch_index", None),
    "image_ref": ("i", "image.id", None),
    "image": ("i", "image.id", 1),
    "kernel_id": ("k", "kernel_id", None),
    "ramdisk_id": ("k", "ramdisk_id", None),
    "hostname": ("h", "hostname", 90),
    "key_name": ("k", "key_name", 83),
    "host": ("h", "host", None),
    "node": ("n", "node", None),
    "flavor": ("1", "flavor.id", 1),
    "reservation_id": ("r-1", "reservation_id", 1),
    "launched_at": ("2026", "launched_at", 83),
    "terminated_at": ("2026", "terminated_at", 83),
    "availability_zone": ("nova", "availability_zone", 83),
    "name": ("web", "name", 1),
    "display_name": ("web", "name", None),
    "display_description": ("d", "description", None),
    "locked_by": ("admin", "locked_by", None),
    "root_device_name": ("vda", "root_device_name", None),
    "config_drive": ("True", "config_drive", 83),
    "access_ip_v4": ("1", "access_ip_v4", None),
    "access_ip_v6": ("1", "access_ip_v6", None),
    "auto_disk_config": ("1", "auto_disk_config", None),
    "progress": ("50", "progress", 83),
    "created_at": ("2026", "created_at", 83),
}
_EXACT = {"user_id", "image", "image_ref", "host", "flavor"}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("version", [1, 82, 83, 89, 90, 104])
def test_text_filters(cloud, asked, name, version):
    value, field, open_since = TEXTS[name]
    kind = query.TextMatch.KIND_EXACT if name in _EXACT else query.TextMatch.KIND_REGEX
    expected = [query.TextMatch(field=field, kind=kind, value=value)]
    assert cloud.get(f"/servers?{name}={value}", version=f"2.{version}", token="admin").status_code == 200
    assert list(asked().filter.texts) == expected
    assert cloud.get(f"/servers?{name}={value}", version=f"2.{version}").status_code == 200
    is_open = open_since is not None and version >= open_since
    assert list(asked().filter.texts) == (expected if is_open else [])


@pytest.mark.parametrize(
    ("text", "since", "field", "value"),
    [
        ("ip=10.0.0", 1, "ip_v4_regex", "10.0.0"),
        ("ip6=fd00", 5, "ip_v6_regex", "fd00"),
        ("tags=a,b", 26, "tags_all", ["a", "b"]),
        ("tags-any=a,b", 26, "tags_any", ["a", "b"]),
        ("not-tags=a", 26, "tags_not_all", ["a"]),
        ("not-tags-any=a", 26, "tags_not_any", ["a"]),
        ("locked=true", 73, "locked", True),
    ],
)
def test_filters_of_their_own(cloud, asked, text, since, field, value):
    def seen():
        found = getattr(asked().filter, field)
        return found if isinstance(found, str | bool) else list(found)

    assert cloud.get(f"/servers?{text}", version=f"2.{since}").status_code == 200
    assert seen() == value
    if since > 1:
        assert cloud.get(f"/servers?{text}", version=f"2.{since - 1}").status_code == 200
        assert not seen()


def test_status(cloud, asked):
    cloud.get("/servers?status=active")
    assert list(asked().filter.vm_states) == [pb.VM_STATE_ACTIVE]
    assert not asked().filter.task_states
    cloud.get("/servers?status=REBOOT")
    assert set(asked().filter.task_states) == {
        pb.TASK_STATE_REBOOTING,
        pb.TASK_STATE_REBOOT_PENDING,
        pb.TASK_STATE_REBOOT_STARTED,
    }
    cloud.get("/servers?status=active&status=shutoff")
    assert set(asked().filter.vm_states) == {pb.VM_STATE_ACTIVE, pb.VM_STATE_STOPPED}
    assert cloud.get("/servers?status=what", version="2.37").json == {"servers": []}
    assert cloud.get("/servers?status=what", version="2.38").status_code == 400
    assert cloud.get("/servers?status=deleted").status_code == 403
    assert cloud.get("/servers?status=deleted", token="admin").status_code == 200
    assert asked().filter.deleted


def test_states(cloud, asked):
    cloud.get("/servers?vm_state=soft-delete&task_state=powering-off&power_state=4", token="admin")
    assert list(asked().filter.vm_states) == [pb.VM_STATE_SOFT_DELETED]
    assert list(asked().filter.task_states) == [pb.TASK_STATE_POWERING_OFF]
    assert list(asked().filter.power_states) == [pb.POWER_STATE_SHUTDOWN]
    cloud.get("/servers?power_state=[13]", token="admin")
    assert set(asked().filter.power_states) == {pb.POWER_STATE_RUNNING, pb.POWER_STATE_PAUSED}
    assert cloud.get("/servers?power_state=%5B", token="admin").status_code == 400
    assert cloud.get("/servers?power_state=2", token="admin").json == {"servers": []}
    assert cloud.get("/servers?vm_state=nonsense", token="admin").json == {"servers": []}
    assert cloud.get("/servers?vm_state=active&status=error", token="admin").json == {"servers": []}


def test_times(cloud, asked):
    cloud.get("/servers?changes-since=2026-01-02T03:04:05Z")
    assert asked().filter.changed_since.seconds == 1767323045
    assert not asked().filter.HasField("deleted")
    cloud.get("/servers?changes-since=2026-01-02T05:04:05%2B02:00")
    assert asked().filter.changed_since.seconds == 1767323045
    cloud.get("/servers?changes-before=2026-01-02", version="2.66")
    assert asked().filter.changed_before.seconds == 1767312000
    assert cloud.get("/servers?changes-since=yesterday").status_code == 400
    both = "changes-since=2026-01-02&changes-before=2026-01-01"
    assert cloud.get(f"/servers?{both}", version="2.66").status_code == 400


def test_deleted(cloud, asked):
    cloud.get("/servers")
    assert asked().filter.HasField("deleted")
    assert not asked().filter.deleted
    cloud.put_server(deleted_at=Timestamp(seconds=1))
    assert len(cloud.get("/servers?deleted=true", token="admin").json["servers"]) == 1
    assert cloud.get("/servers?deleted=true").json == {"servers": []}
    cloud.get("/servers?deleted=nonsense", token="admin")
    assert not asked().filter.deleted


@pytest.mark.parametrize("name", ["metadata", "services", "security_groups", "info_cache", "pci_devices"])
def test_what_is_no_filter(cloud, name):
    assert cloud.get(f"/servers?{name}=x").status_code == 400


def test_unknown_parameters(cloud):
    assert cloud.get("/servers?bogus=1", version="2.74").status_code == 200
    assert cloud.get("/servers?bogus=1", version="2.75").status_code == 400
    assert cloud.get("/servers?tags=a", version="2.25").status_code == 200
    server = cloud.put_server()
    assert cloud.get(f"/servers/{server.id}?bogus=1", version="2.101").status_code == 200
    assert cloud.get(f"/servers/{server.id}?bogus=1", version="2.102").status_code == 400


def test_regular_expressions_must_compile(cloud):
    assert cloud.get("/servers?name=%5B").status_code == 400
    assert cloud.get("/servers?name=").status_code == 400


def test_sorting(cloud, asked):
    cloud.get("/servers?sort_key=display_name&sort_key=created_at&sort_dir=asc&sort_dir=desc")
    assert [(order.key, order.descending) for order in asked().sort] == [
        ("name", False),
        ("created_at", True),
    ]
    cloud.get("/servers?sort_key=display_name")
    assert asked().sort[0].descending
    cloud.get("/servers?sort_key=vcpus&sort_key=uuid", version="2.74")
    assert [order.key for order in asked().sort] == ["id"]
    assert cloud.get("/servers?sort_key=vcpus", version="2.75").status_code == 400
    assert cloud.get("/servers?sort_key=nonsense").status_code == 400
    assert cloud.get("/servers?sort_key=uuid&sort_dir=up").status_code == 400
    assert cloud.get("/servers?sort_key=uuid&sort_dir=asc&sort_dir=asc").status_code == 400
    assert cloud.get("/servers?sort_key=host").status_code == 403
    assert cloud.get("/servers?sort_key=host", token="admin").status_code == 200
    cloud.get("/servers?sort_key=locked", version="2.72")
    assert not asked().sort
    cloud.get("/servers?sort_key=locked", version="2.73")
    assert asked().sort[0].key == "locked_by"


def test_pages(cloud, asked):
    ids = [cloud.put_server(name=f"s{number}").id for number in range(5)][::-1]
    seen, path = [], "/servers?limit=2&sort_key=created_at&name=s"
    while path:
        answer = cloud.get(path).json
        seen += [server["id"] for server in answer["servers"]]
        links = answer.get("servers_links")
        path = links[0]["href"].removeprefix("http://localhost/v2.1") if links else None
        assert path is None or ("limit=2" in path and "name=s" in path and f"marker={seen[-1]}" in path)
    assert seen == ids
    assert "servers_links" in cloud.get("/servers?limit=5").json
    assert cloud.get("/servers?limit=0").json == {"servers": []}
    cloud.get("/servers?limit=5000")
    assert asked().page_size == 1000
    assert cloud.get("/servers?limit=-1").status_code == 400
    assert cloud.get("/servers?limit=a").status_code == 400
    assert cloud.get("/servers?marker=00000000-0000-0000-0000-00000000ffff").status_code == 400


def test_errors_of_the_service(cloud):
    cloud.servers.refuse["ListServers"] = errors.InvalidArgument("bad", "FILTER_INVALID", field="name")
    assert cloud.get("/servers").status_code == 400
    cloud.servers.refuse["ListServers"] = errors.Unavailable("down")
    answer = cloud.get("/servers")
    assert answer.status_code == 503
    assert "serviceUnavailable" in answer.json
