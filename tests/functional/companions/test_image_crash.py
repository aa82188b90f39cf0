"""An upload that breaks off, on either side, leaves no image that has a part of its data."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from .conftest import Companions

PIECE = b"x" * 65536
FORMATS = {"disk_format": "raw", "container_format": "bare"}


def begun(companions: Companions, *, chunked: bool) -> tuple[str, socket.socket]:
    """An image, and a connection over which half of its data has been sent."""
    ident = companions.call("POST", "/image/v2/images", FORMATS).json()["id"]
    address = urlsplit(companions.url)
    client = socket.create_connection((address.hostname, address.port))
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {40 * len(PIECE)}"
    client.sendall(
        f"PUT /image/v2/images/{ident}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {companions.token()}\r\n"
        f"Content-Type: application/octet-stream\r\n{framing}\r\n\r\n".encode()
    )
    for _ in range(20):
        client.sendall(b"10000\r\n%b\r\n" % PIECE if chunked else PIECE)
    reached(companions, ident, "saving")
    return ident, client


def reached(companions: Companions, ident: str, status: str) -> None:
    deadline = time.monotonic() + 90
    while companions.call("GET", f"/image/v2/images/{ident}").json()["status"] != status:
        assert time.monotonic() < deadline, f"the image does not become {status}"


def parts(state: Path) -> list[str]:
    return [path.name for path in (state / "images").iterdir()]


@pytest.mark.parametrize("chunked", [False, True])
def test_the_client_goes_away(companions: Companions, chunked: bool) -> None:
    ident, client = begun(companions, chunked=chunked)
    client.close()
    reached(companions, ident, "queued")
    octets = {"Content-Type": "application/octet-stream"}
    assert (
        companions.call("PUT", f"/image/v2/images/{ident}/file", data=b"all", headers=octets).status_code
        == 204
    )
    assert companions.call("GET", f"/image/v2/images/{ident}/file").content == b"all"
    assert not [name for name in parts(companions.state) if name.endswith(".part")]


def test_the_image_is_deleted_during_the_upload(companions: Companions) -> None:
    ident, client = begun(companions, chunked=False)
    assert companions.call("DELETE", f"/image/v2/images/{ident}").status_code == 204
    assert companions.call("GET", f"/image/v2/images/{ident}").status_code == 404
    for _ in range(20):
        client.sendall(PIECE)
    assert client.recv(65536).startswith(b"HTTP/1.1 410 ")
    assert not [name for name in parts(companions.state) if name.startswith(ident)]


def test_the_process_is_killed(tmp_path: Path) -> None:
    companions = Companions(tmp_path)
    companions.start()
    ident, client = begun(companions, chunked=False)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in (tmp_path / "images").iterdir()):
        assert time.monotonic() < deadline, "nothing of the upload reaches the disk"
    companions.kill()
    client.close()
    companions.start()
    try:
        image = companions.call("GET", f"/image/v2/images/{ident}").json()
        assert (image["status"], image["size"], image["checksum"]) == ("queued", None, None)
        assert parts(tmp_path) == []
        assert companions.call("GET", f"/image/v2/images/{ident}/file").status_code == 204
        octets = {"Content-Type": "application/octet-stream"}
        path = f"/image/v2/images/{ident}/file"
        assert companions.call("PUT", path, data=b"again", headers=octets).status_code == 204
        assert companions.call("GET", path).content == b"again"
    finally:
        companions.stop()


def test_one_process_has_the_state(companions: Companions) -> None:
    second = Companions(companions.state)
    with pytest.raises(ValueError, match="Expecting value"):
        second.start()
    assert second.process
    assert second.process.wait(timeout=20) != 0
