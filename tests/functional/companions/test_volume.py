"""Volume: volumes, snapshots, attachments, and what may be done in which status."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openstack.connection import Connection
from openstack.exceptions import BadRequestException, NotFoundException

from protonova.companions.volume.files import converts

from .conftest import Companions

GIB = 2**30
NEWEST = {"OpenStack-API-Version": "volume 3.70"}
SERVER = "5d8a0c3a-3f3b-4d52-9d2c-6ed0f28e6a10"


@pytest.fixture
def mine(new_project: Callable[..., Connection]) -> Connection:
    return new_project()


class Volumes:
    """The REST of Volume as one user speaks it."""

    def __init__(self, connection: Connection) -> None:
        self._session = connection.session
        self._base = connection.session.get_endpoint(service_type="block-storage")

    def call(self, method: str, path: str, body: Any = None, version: str = "3.70") -> Any:
        headers = {"OpenStack-API-Version": f"volume {version}"}
        return self._session.request(
            f"{self._base}{path}", method, json=body, headers=headers, raise_exc=False
        )

    def make(self, **volume: Any) -> str:
        answer = self.call("POST", "/volumes", {"volume": {"size": 1, **volume}})
        assert answer.status_code == 202, answer.text
        self.reached("volumes", answer.json()["volume"]["id"], "available")
        return str(answer.json()["volume"]["id"])

    def show(self, ident: str, table: str = "volumes") -> Any:
        return self.call("GET", f"/{table}/{ident}").json()[table[:-1]]

    def reached(self, table: str, ident: str, status: str) -> None:
        deadline = time.monotonic() + 90
        while (found := self.show(ident, table)["status"]) != status:
            assert time.monotonic() < deadline, f"{ident} stays {found}"

    def act(self, ident: str, **action: Any) -> Any:
        return self.call("POST", f"/volumes/{ident}/action", action)

    def attach(self, ident: str, server: str = SERVER, connector: Any = None) -> Any:
        body = {"volume_uuid": ident, "instance_uuid": server}
        if connector:
            body["connector"] = connector
        return self.call("POST", "/attachments", {"attachment": body})


@pytest.fixture
def volumes(mine: Connection) -> Volumes:
    return Volumes(mine)


def test_a_blank_volume_is_a_sparse_file(companions: Companions, volumes: Volumes) -> None:
    ident = volumes.make(name="data", metadata={"a": "b"})
    body = volumes.show(ident)
    assert (body["size"], body["bootable"], body["metadata"]) == (1, "false", {"a": "b"})
    assert body["volume_type"] == "__DEFAULT__"
    file = companions.state / "volumes" / f"volume-{ident}"
    assert file.stat().st_size == GIB
    assert file.stat().st_blocks * 512 < 2**20
    assert volumes.call("DELETE", f"/volumes/{ident}").status_code == 202
    assert volumes.call("GET", f"/volumes/{ident}").status_code == 404
    assert not file.exists()


def test_a_volume_from_an_image(
    companions: Companions, mine: Connection, volumes: Volumes, name: str
) -> None:
    data = os.urandom(700_000)
    image = mine.image.create_image(
        name, disk_format="raw", container_format="bare", data=data, os_type="linux"
    )
    ident = volumes.make(imageRef=image.id)
    body = volumes.show(ident)
    assert body["bootable"] == "true"
    assert body["volume_image_metadata"]["image_id"] == image.id
    assert body["volume_image_metadata"]["os_type"] == "linux"
    file = companions.state / "volumes" / f"volume-{ident}"
    with file.open("rb") as volume:
        assert volume.read(len(data) + 1) == data + b"\0"
    assert file.stat().st_size == GIB
    large = mine.image.create_image(
        f"{name}-large", disk_format="raw", container_format="bare", data=b"x", min_disk=5
    )
    refused = volumes.call("POST", "/volumes", {"volume": {"size": 1, "imageRef": large.id}})
    assert (refused.status_code, "badRequest" in refused.json()) == (400, True)


def test_snapshots_keep_the_data_of_their_moment(companions: Companions, volumes: Volumes) -> None:
    ident = volumes.make()
    file = companions.state / "volumes" / f"volume-{ident}"
    with file.open("r+b") as volume:
        volume.seek(500_000_000)
        volume.write(b"before")
    answer = volumes.call("POST", "/snapshots", {"snapshot": {"volume_id": ident, "name": "s"}})
    assert answer.status_code == 202
    snapshot = answer.json()["snapshot"]["id"]
    volumes.reached("snapshots", snapshot, "available")
    with file.open("r+b") as volume:
        volume.seek(500_000_000)
        volume.write(b"after!")
    copy = volumes.make(size=2, snapshot_id=snapshot)
    clone = volumes.make(source_volid=ident)
    for made, size, expected in ((copy, 2, b"before"), (clone, 1, b"after!")):
        path = companions.state / "volumes" / f"volume-{made}"
        assert path.stat().st_size == size * GIB
        assert path.stat().st_blocks * 512 < 2**22
        with path.open("rb") as volume:
            volume.seek(500_000_000)
            assert volume.read(6) == expected
    assert volumes.call("DELETE", f"/volumes/{ident}").status_code == 400
    assert volumes.call("DELETE", f"/snapshots/{snapshot}").status_code == 202
    assert volumes.call("GET", f"/snapshots/{snapshot}").status_code == 404
    assert volumes.call("DELETE", f"/volumes/{ident}").status_code == 202


def test_an_attachment_from_reserved_to_attached(companions: Companions, volumes: Volumes) -> None:
    ident = volumes.make()
    made = volumes.attach(ident)
    attachment = made.json()["attachment"]
    assert (attachment["status"], attachment["connection_info"]) == ("reserved", {})
    assert volumes.show(ident)["status"] == "reserved"
    refused = volumes.attach(ident, server="another")
    assert (refused.status_code, refused.json()["badRequest"]["code"]) == (400, 400)
    path = f"/attachments/{attachment['id']}"
    connector = {"connector": {"host": "host1", "ip": "127.0.0.1", "mountpoint": "/dev/vdb"}}
    info = volumes.call("PUT", path, {"attachment": connector}).json()["attachment"]["connection_info"]
    assert info["driver_volume_type"] == "file"
    assert Path(info["path"]) == companions.state / "volumes" / f"volume-{ident}"
    assert (info["format"], info["access_mode"], info["attachment_id"]) == ("raw", "rw", attachment["id"])
    assert volumes.show(ident)["status"] == "attaching"
    assert volumes.call("POST", f"{path}/action", {"os-complete": {}}).status_code == 204
    body = volumes.show(ident)
    assert body["status"] == "in-use"
    (entry,) = body["attachments"]
    assert (entry["server_id"], entry["attachment_id"], entry["device"]) == (
        SERVER,
        attachment["id"],
        "/dev/vdb",
    )
    assert volumes.call("DELETE", f"/volumes/{ident}").status_code == 400
    moving = volumes.attach(ident, connector={"host": "host2"})
    assert (moving.status_code, moving.json()["attachment"]["status"]) == (200, "attaching")
    assert volumes.show(ident)["status"] == "in-use"
    listed = volumes.call("GET", f"/attachments?instance_id={SERVER}").json()["attachments"]
    assert {row["id"] for row in listed} == {attachment["id"], moving.json()["attachment"]["id"]}
    left = volumes.call("DELETE", path).json()["attachments"]
    assert [row["id"] for row in left] == [moving.json()["attachment"]["id"]]
    assert volumes.call("DELETE", f"/attachments/{left[0]['id']}").json() == {"attachments": []}
    assert volumes.show(ident)["status"] == "available"
    assert volumes.call("GET", path).status_code == 404


def test_an_attachment_that_is_complete_without_a_host(volumes: Volumes) -> None:
    """As servers without a host have them."""
    ident = volumes.make()
    path = f"/attachments/{volumes.attach(ident).json()['attachment']['id']}"
    assert volumes.call("POST", f"{path}/action", {"os-complete": {}}).status_code == 204
    assert volumes.call("GET", path).json()["attachment"]["connection_info"] == {}
    body = volumes.show(ident)
    assert (body["status"], body["attachments"][0]["host_name"]) == ("in-use", None)
    placed = volumes.attach(ident, connector={"host": "host1"}).json()["attachment"]
    assert placed["connection_info"]["driver_volume_type"] == "file"
    assert volumes.call("DELETE", path).status_code == 200
    assert volumes.show(ident)["status"] == "attaching"


def test_a_volume_for_several_servers(admin: Connection, volumes: Volumes, name: str) -> None:
    answer = Volumes(admin).call(
        "POST", "/types", {"volume_type": {"name": name, "extra_specs": {"multiattach": "<is> True"}}}
    )
    assert answer.status_code == 200
    ident = volumes.make(volume_type=name)
    assert volumes.show(ident)["multiattach"] is True
    attachments = [volumes.attach(ident, server).json()["attachment"]["id"] for server in ("one", "two")]
    for attachment in attachments:
        volumes.call("PUT", f"/attachments/{attachment}", {"attachment": {"connector": {"host": "h"}}})
        volumes.call("POST", f"/attachments/{attachment}/action", {"os-complete": {}})
    assert {entry["server_id"] for entry in volumes.show(ident)["attachments"]} == {"one", "two"}
    volumes.call("DELETE", f"/attachments/{attachments[0]}")
    assert volumes.show(ident)["status"] == "in-use"


def test_attachments_are_younger_than_the_first_version(volumes: Volumes) -> None:
    ident = volumes.make()
    body = {"attachment": {"volume_uuid": ident, "instance_uuid": SERVER}}
    assert volumes.call("POST", "/attachments", body, version="3.26").status_code == 404
    assert volumes.call("POST", "/attachments", body, version="3.27").status_code == 200


def test_the_older_way_to_attach(volumes: Volumes) -> None:
    ident = volumes.make()
    nothing: dict[str, Any] = {}
    assert volumes.act(ident, **{"os-reserve": nothing}).status_code == 202
    assert volumes.act(ident, **{"os-reserve": nothing}).status_code == 400
    assert volumes.act(ident, **{"os-unreserve": nothing}).status_code == 202
    assert volumes.act(ident, **{"os-reserve": nothing}).status_code == 202
    info = volumes.act(ident, **{"os-initialize_connection": {"connector": {"host": "h"}}}).json()
    assert info["connection_info"]["driver_volume_type"] == "file"
    assert info["connection_info"]["data"]["path"].endswith(f"volume-{ident}")
    attach = {"instance_uuid": SERVER, "mountpoint": "/dev/vdc", "mode": "rw"}
    assert volumes.act(ident, **{"os-attach": attach}).status_code == 202
    assert volumes.show(ident)["attachments"][0]["device"] == "/dev/vdc"
    assert volumes.act(ident, **{"os-begin_detaching": nothing}).status_code == 202
    assert volumes.act(ident, **{"os-roll_detaching": nothing}).status_code == 202
    assert volumes.act(ident, **{"os-begin_detaching": nothing}).status_code == 202
    assert volumes.act(ident, **{"os-terminate_connection": {"connector": {"host": "h"}}}).status_code == 202
    assert volumes.act(ident, **{"os-detach": nothing}).status_code == 202
    assert (volumes.show(ident)["status"], volumes.show(ident)["attachments"]) == ("available", [])


def test_other_actions(companions: Companions, admin: Connection, volumes: Volumes) -> None:
    ident = volumes.make()
    assert volumes.act(ident, **{"os-extend": {"new_size": 1}}).status_code == 400
    assert volumes.act(ident, **{"os-extend": {"new_size": 3}}).status_code == 202
    assert (companions.state / "volumes" / f"volume-{ident}").stat().st_size == 3 * GIB
    assert volumes.act(ident, **{"os-set_bootable": {"bootable": True}}).status_code == 200
    assert volumes.act(ident, **{"os-set_image_metadata": {"metadata": {"k": "v"}}}).json() == {
        "metadata": {"k": "v"}
    }
    body = volumes.show(ident)
    assert (body["size"], body["bootable"], body["volume_image_metadata"]) == (3, "true", {"k": "v"})
    assert volumes.act(ident, **{"os-unset_image_metadata": {"key": "k"}}).status_code == 200
    assert volumes.act(ident, **{"os-reset_status": {"status": "error"}}).status_code == 403
    theirs = Volumes(admin)
    assert theirs.act(ident, **{"os-reset_status": {"status": "in-use"}}).status_code == 202
    assert volumes.call("DELETE", f"/volumes/{ident}").status_code == 400
    assert theirs.act(ident, **{"os-force_delete": {}}).status_code == 202
    assert volumes.call("GET", f"/volumes/{ident}").status_code == 404
    assert volumes.act(ident, **{"os-nothing": {}}).status_code == 400


def test_the_end_of_a_migration(companions: Companions, admin: Connection, volumes: Volumes) -> None:
    files, theirs = companions.state / "volumes", Volumes(admin)
    ident = volumes.make()
    for content in (b"first", b"second"):
        new = volumes.make(size=2)
        (files / f"volume-{new}").write_bytes(content)
        held = volumes.attach(new, connector={"host": "h"}).json()["attachment"]
        done = {"os-migrate_volume_completion": {"new_volume": new, "error": False}}
        assert volumes.act(ident, **done).status_code == 403
        assert theirs.act(ident, **done).status_code == 400
        _says(theirs, ident, "migrating")
        assert theirs.act(ident, **done).status_code == 400
        _says(theirs, new, f"target:{ident}")
        assert theirs.act(ident, **done).json() == {"save_volume_id": ident}
        assert volumes.call("GET", f"/volumes/{new}").status_code == 404
        assert (files / f"volume-{ident}").read_bytes() == content
        kept = volumes.call("GET", f"/attachments/{held['id']}").json()["attachment"]
        # A guest that has the file open, or in its definition, finds it where it was.
        path = held["connection_info"]["path"]
        assert (kept["volume_id"], kept["connection_info"]["path"]) == (ident, path)
        assert (volumes.show(ident)["size"], volumes.show(ident)["status"]) == (2, "attaching")
        assert volumes.call("DELETE", f"/attachments/{held['id']}").status_code == 200
    new = volumes.make()
    _says(theirs, ident, "migrating")
    _says(theirs, new, f"target:{ident}")
    failed = {"os-migrate_volume_completion": {"new_volume": new, "error": True}}
    assert theirs.act(ident, **failed).status_code == 200
    assert theirs.show(ident)["migration_status"] == "error"
    assert (files / f"volume-{ident}").read_bytes() == content
    assert volumes.call("DELETE", f"/volumes/{ident}").status_code == 202
    assert not Path(path).exists()
    assert not (files / f"volume-{ident}").is_symlink()


def _says(volumes: Volumes, ident: str, migration_status: str) -> None:
    answer = volumes.act(ident, **{"os-reset_status": {"migration_status": migration_status}})
    assert answer.status_code == 202


def test_an_image_of_a_volume(companions: Companions, mine: Connection, volumes: Volumes, name: str) -> None:
    ident = volumes.make()
    with (companions.state / "volumes" / f"volume-{ident}").open("r+b") as volume:
        volume.write(b"content")
    answer = volumes.act(ident, **{"os-volume_upload_image": {"image_name": name, "disk_format": "raw"}})
    body = answer.json()["os-volume_upload_image"]
    assert (answer.status_code, body["status"]) == (202, "uploading")
    volumes.reached("volumes", ident, "available")
    image = mine.image.get_image(body["image_id"])
    assert (image.status, image.size, image.disk_format) == ("active", GIB, "raw")


def test_qcow2_goes_in_and_out_where_it_can_be_converted(
    mine: Connection, volumes: Volumes, name: str
) -> None:
    ident = volumes.make()
    upload = {"os-volume_upload_image": {"image_name": name, "disk_format": "qcow2"}}
    answer = volumes.act(ident, **upload)
    if not converts():
        assert answer.status_code == 400
        return
    volumes.reached("volumes", ident, "available")
    image = mine.image.get_image(answer.json()["os-volume_upload_image"]["image_id"])
    assert (image.status, image.disk_format, image.virtual_size) == ("active", "qcow2", GIB)
    assert image.size < 2**24
    back = volumes.show(volumes.make(imageRef=image.id))
    assert (back["status"], back["bootable"]) == ("available", "true")


def test_an_image_that_leads_to_another_file_is_not_converted(
    mine: Connection, volumes: Volumes, name: str
) -> None:
    backed = (
        b"QFI\xfb" + (3).to_bytes(4, "big") + (200).to_bytes(8, "big") + bytes(8) + GIB.to_bytes(8, "big")
    )
    image = mine.image.create_image(
        name, disk_format="qcow2", container_format="bare", data=backed + bytes(300)
    )
    made = volumes.call("POST", "/volumes", {"volume": {"size": 1, "imageRef": image.id}})
    volumes.reached("volumes", made.json()["volume"]["id"], "error")


def test_metadata(volumes: Volumes) -> None:
    path = f"/volumes/{volumes.make(metadata={'a': '1'})}/metadata"
    assert volumes.call("POST", path, {"metadata": {"b": "2"}}).json() == {"metadata": {"a": "1", "b": "2"}}
    assert volumes.call("PUT", f"{path}/a", {"meta": {"a": "3"}}).json() == {"meta": {"a": "3"}}
    assert volumes.call("DELETE", f"{path}/b").status_code == 200
    assert volumes.call("GET", f"{path}/b").status_code == 404
    assert volumes.call("PUT", path, {"metadata": {"c": "4"}}).json() == {"metadata": {"c": "4"}}


def test_lists(mine: Connection, volumes: Volumes) -> None:
    idents = [volumes.make(name=f"v{number}", metadata={"n": str(number)}) for number in range(3)]

    def listed(query: str) -> list[str]:
        return [row["id"] for row in volumes.call("GET", f"/volumes/detail?{query}").json()["volumes"]]

    assert listed("") == idents[::-1]
    assert listed("sort=name:asc") == idents
    assert listed("name=v1") == [idents[1]]
    assert listed("metadata=%7B'n'%3A'2'%7D") == [idents[2]]
    assert listed("status=error") == []
    page = volumes.call("GET", "/volumes?limit=2&with_count=true").json()
    assert (page["count"], len(page["volumes"]), page["volumes_links"][0]["rel"]) == (3, 2, "next")
    assert [
        row["id"] for row in mine.session.get(page["volumes_links"][0]["href"]).json()["volumes"]
    ] == idents[:1]
    assert [volume.id for volume in mine.block_storage.volumes(limit=2)] == idents[::-1]
    project = mine.current_project_id
    assert volumes.call("GET", f"/{project}/volumes").status_code == 200
    assert volumes.call("GET", f"/{'0' * 32}/volumes").status_code == 400
    summary = volumes.call("GET", "/volumes/summary").json()["volume-summary"]
    assert (summary["total_count"], summary["total_size"]) == (3, 3)


def test_what_belongs_to_others(
    admin: Connection, volumes: Volumes, new_project: Callable[..., Connection]
) -> None:
    ident = volumes.make()
    other = Volumes(new_project())
    assert other.call("GET", f"/volumes/{ident}").status_code == 404
    assert other.attach(ident).status_code == 404
    assert other.call("GET", "/volumes?all_tenants=1").json()["volumes"] == []
    everything = Volumes(admin).call("GET", "/volumes?all_tenants=1").json()["volumes"]
    assert ident in [row["id"] for row in everything]


def test_quotas(admin: Connection, mine: Connection, volumes: Volumes) -> None:
    theirs, project = Volumes(admin), mine.current_project_id
    theirs.call("PUT", f"/os-quota-sets/{project}", {"quota_set": {"volumes": 2, "gigabytes": 3}})
    volumes.make(size=2)
    over = volumes.call("POST", "/volumes", {"volume": {"size": 2}})
    assert (over.status_code, over.json()["overLimit"]["code"]) == (413, 413)
    volumes.make(size=1)
    absolute = volumes.call("GET", "/limits").json()["limits"]["absolute"]
    assert (absolute["totalVolumesUsed"], absolute["totalGigabytesUsed"], absolute["maxTotalVolumes"]) == (
        2,
        3,
        2,
    )
    usage = theirs.call("GET", f"/os-quota-sets/{project}?usage=True").json()["quota_set"]
    assert usage["gigabytes"] == {"limit": 3, "in_use": 3, "reserved": 0}


def test_versions_and_what_else_is_told(companions: Companions, admin: Connection, demo: Connection) -> None:
    answer = companions.call("GET", "/volume/v3/types", headers={"OpenStack-API-Version": "volume 3.42"})
    assert answer.headers["OpenStack-API-Version"] == "volume 3.42"
    assert answer.headers["X-Compute-Request-Id"].startswith("req-")
    assert "OpenStack-API-Version" in answer.headers["Vary"]
    assert companions.call("GET", "/volume/v3/types").headers["OpenStack-API-Version"] == "volume 3.0"
    latest = companions.call("GET", "/volume/v3/types", headers={"OpenStack-API-Version": "volume latest"})
    assert latest.headers["OpenStack-API-Version"] == "volume 3.70"
    refused = companions.call("GET", "/volume/v3/types", headers={"OpenStack-API-Version": "volume 3.99"})
    assert refused.status_code == 406
    assert [kind.name for kind in admin.block_storage.types()][:1] == ["__DEFAULT__"]
    assert {service.binary for service in admin.block_storage.services()} == {
        "cinder-scheduler",
        "cinder-volume",
    }
    assert [zone.name for zone in demo.block_storage.availability_zones()] == ["nova"]
    assert demo.block_storage.get_limits().absolute.max_total_volumes > 0
    with pytest.raises(NotFoundException):
        demo.block_storage.get_volume("none")
    with pytest.raises(BadRequestException):
        demo.block_storage.create_volume(size=0)


def test_work_that_was_left_is_done_by_the_next_start(tmp_path: Path) -> None:
    companions = Companions(tmp_path)
    companions.start()
    volumes = Volumes(companions.connect())
    idents = [
        volumes.call("POST", "/volumes", {"volume": {"size": 1, "source_volid": volumes.make()}}).json()[
            "volume"
        ]["id"]
        for _ in range(5)
    ]
    companions.kill()
    companions.start()
    try:
        again = Volumes(companions.connect())
        for ident in idents:
            again.reached("volumes", ident, "available")
            assert (tmp_path / "volumes" / f"volume-{ident}").stat().st_size == GIB
        assert not list((tmp_path / "volumes").glob("*.part"))
    finally:
        companions.stop()


def test_an_image_is_written_over_a_volume(mine: Connection, volumes: Volumes) -> None:
    image = mine.image.create_image(
        "over", data=b"over" * 256, disk_format="raw", container_format="bare", visibility="private"
    )
    ident = volumes.make()
    answer = volumes.call(
        "POST", f"/volumes/{ident}/action", {"os-reimage": {"image_id": image.id}}, version="3.67"
    )
    assert answer.status_code == 404
    assert volumes.act(ident, **{"os-reimage": {"image_id": image.id}}).status_code == 202
    volumes.reached("volumes", ident, "available")
    assert volumes.show(ident)["volume_image_metadata"]["image_id"] == image.id
    assert volumes.act(ident, **{"os-reimage": {"image_id": SERVER}}).status_code == 400
    # One that is held for a server is written over only by those who say so, and stays held.
    volumes.attach(ident)
    assert volumes.act(ident, **{"os-reimage": {"image_id": image.id}}).status_code == 400
    wanted = {"image_id": image.id, "reimage_reserved": True}
    assert volumes.act(ident, **{"os-reimage": wanted}).status_code == 202
    volumes.reached("volumes", ident, "reserved")
