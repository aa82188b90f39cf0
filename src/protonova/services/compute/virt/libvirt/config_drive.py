"""The config drive: metadata as a small ISO 9660 file system with the label guests look for."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pycdlib

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import GuestSpec

LABEL = "config-2"
_MAX_BYTES = 64 << 20


def documents(spec: GuestSpec) -> dict[str, bytes]:
    """What goes on the drive of a guest."""
    files = dict(spec.documents)
    if spec.user_data:
        files.setdefault("openstack/latest/user_data", spec.user_data)
    return files


def write(path: Path, files: Mapping[str, bytes]) -> None:
    """Write the drive; it is there completely or not at all."""
    if sum(map(len, files.values())) > _MAX_BYTES:
        raise errors.HostRefuses(f"the metadata of the guest is larger than {_MAX_BYTES >> 20} MiB")
    iso = pycdlib.PyCdlib()
    # Guests read names by Rock Ridge or Joliet; the plain ISO names only have to be short and differ.
    iso.new(interchange_level=3, rock_ridge="1.09", joliet=3, vol_ident=LABEL)
    directories: dict[PurePosixPath, str] = {PurePosixPath("/"): ""}

    def directory(name: PurePosixPath) -> str:
        if name not in directories:
            iso_path = f"{directory(name.parent)}/D{len(directories):07d}"
            iso.add_directory(iso_path, rr_name=name.name, joliet_path=str(name))
            directories[name] = iso_path
        return directories[name]

    streams = []
    for number, (name, content) in enumerate(sorted(files.items())):
        place = PurePosixPath("/") / name
        if ".." in place.parts or place.name in ("", "."):
            raise errors.HostRefuses(f"{name!r} is no path on a config drive")
        stream = io.BytesIO(content)  # read when the image is written
        streams.append(stream)
        iso.add_fp(
            stream,
            len(content),
            f"{directory(place.parent)}/F{number:07d}.;1",
            rr_name=place.name,
            joliet_path=str(place),
        )
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    try:
        # there may be passwords in it
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "w+b") as file:
            iso.write_fp(file)
    finally:
        iso.close()
    part.replace(path)
