"""Config drive and guest directory: what is written is what is read."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path

import pycdlib
import pytest

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import (
    FixedIP,
    GuestSpec,
    ImageSource,
    NicSpec,
    PowerState,
    VolumeDisk,
)
from protonova.services.compute.virt.libvirt import config_drive, snapshot
from protonova.services.compute.virt.libvirt.layout import GuestDirectory, Layout, LocalDisk, half_made


def read(drive: Path, path: str) -> bytes:
    iso = pycdlib.PyCdlib()
    iso.open(str(drive))
    try:
        content = io.BytesIO()
        iso.get_file_from_iso_fp(content, rr_path=path)
        return content.getvalue()
    finally:
        iso.close()


def test_config_drive_holds_every_document(tmp_path: Path) -> None:
    files = {
        "openstack/latest/meta_data.json": b'{"uuid": "x"}',
        "openstack/2012-08-10/meta_data.json": b"{}",
        "openstack/content/0000": b"",
        "ec2/latest/a long name with spaces.json": b"z" * 100_000,
    }
    drive = tmp_path / "disk.config"
    config_drive.write(drive, files)
    assert drive.read_bytes()[32808:32816] == b"config-2"
    assert drive.stat().st_mode & 0o777 == 0o600
    for path, content in files.items():
        assert read(drive, f"/{path}") == content
    assert list(tmp_path.iterdir()) == [drive]


def test_user_data_is_a_document() -> None:
    spec = GuestSpec("s", "n", user_data=b"#!/bin/sh\n", documents={"a": b"1"})
    assert config_drive.documents(spec) == {"a": b"1", "openstack/latest/user_data": b"#!/bin/sh\n"}


@pytest.mark.parametrize("path", ["../../etc/passwd", "a/../b", ""])
def test_config_drive_paths_stay_inside(tmp_path: Path, path: str) -> None:
    with pytest.raises(errors.HostRefuses):
        config_drive.write(tmp_path / "disk.config", {path: b"x"})
    assert not (tmp_path / "disk.config").exists()


def test_a_layout_is_read_back_without_secrets(tmp_path: Path) -> None:
    spec = GuestSpec(
        str(uuid.uuid4()),
        "instance-00000001",
        image=ImageSource("i", "qcow2", properties={"hw_disk_bus": "scsi"}),
        nics=(NicSpec("p", "m", "n", fixed_ips=(FixedIP("10.0.0.2", "10.0.0.0/24", "10.0.0.1", ("8.8.8.8",),
                                                        (("1.0.0.0/8", "10.0.0.9"),)),)),),
        disks=(VolumeDisk("v", {"driver_volume_type": "local", "data": {"device_path": "/v"}}, 0),),
        extra_specs={"hw:cpu_cores": "2"},
        admin_password="s3cret",
        user_data=b"s3cret",
        documents={"x": b"s3cret"},
    )  # fmt: skip
    directory = GuestDirectory(tmp_path, spec.server_id)
    directory.make()
    layout = Layout(spec, (LocalDisk("root", "/d", "qcow2"),))
    directory.save(layout)
    loaded = directory.load()
    assert loaded is not None
    assert loaded.disks == layout.disks
    assert (loaded.spec.nics, loaded.spec.disks, loaded.spec.image) == (spec.nics, spec.disks, spec.image)
    assert (loaded.spec.admin_password, loaded.spec.documents) == ("", {})
    text = (directory.path / "guest.json").read_text()
    assert "s3cret" not in text
    assert json.loads(text)["spec"]["name"] == "instance-00000001"


def test_the_copy_of_a_guest_that_boots_from_an_iso_image_is_one(tmp_path: Path) -> None:
    image = tmp_path / "base"
    config_drive.write(image, {"a": b"1"})
    image.chmod(0o444)
    directory = GuestDirectory(tmp_path, str(uuid.uuid4()))
    directory.make()
    spec = GuestSpec(directory.path.name, "instance-00000001", image=ImageSource("i", "iso"))
    directory.save(Layout(spec, (LocalDisk("root", str(image), "raw", "cdrom"),)))
    copy = str(uuid.uuid4())
    with pytest.raises(errors.SnapshotNotFound):
        snapshot.opened(directory, copy)
    for _ in range(2):
        snapshot.take(None, directory, copy, lambda: False)
    found = snapshot.opened(directory, copy)
    with found.file as file:
        assert file.read() == image.read_bytes()
    assert (found.disk_format, found.size) == ("iso", image.stat().st_size)


def test_half_made_guests_are_found_by_their_files(tmp_path: Path) -> None:
    ids = sorted(str(uuid.uuid4()) for _ in range(2))
    for server_id in ids:
        GuestDirectory(tmp_path, server_id).make()
    (tmp_path / "lost+found").mkdir()
    assert [(g.server_id, g.power_state) for g in half_made(tmp_path, {ids[0]}, "host")] == [
        (ids[1], PowerState.NOSTATE)
    ]


@pytest.mark.parametrize("server_id", ["", "..", "../x", "not-an-id"])
def test_only_server_ids_name_directories(tmp_path: Path, server_id: str) -> None:
    with pytest.raises(errors.GuestNotFound):
        GuestDirectory(tmp_path, server_id)
