"""Image: records, data, who sees what."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable

import pytest
import requests
from openstack.connection import Connection
from openstack.exceptions import ConflictException, ForbiddenException, NotFoundException

from .conftest import Companions

PATCH = "application/openstack-images-v2.1-json-patch"
DATA = os.urandom(1_500_000)


def uploaded(connection: Connection, name: str, data: bytes = DATA, **more: object) -> str:
    base = connection.session.get_endpoint(service_type="image")
    body = {"name": name, "disk_format": "raw", "container_format": "bare", **more}
    answer = connection.session.post(f"{base}/v2/images", json=body)
    ident = answer.json()["id"]
    octets = {"Content-Type": "application/octet-stream"}
    connection.session.put(f"{base}/v2/images/{ident}/file", data=data, headers=octets)
    return str(ident)


def test_data_comes_back_as_it_was_sent(demo: Connection, name: str) -> None:
    made = demo.image.create_image(name, disk_format="raw", container_format="bare", data=DATA)
    ident = made.id
    image = demo.image.get_image(ident)
    assert (image.status, image.size, image.virtual_size) == ("active", len(DATA), len(DATA))
    assert image.checksum == hashlib.md5(DATA).hexdigest()
    assert (image.hash_algo, image.hash_value) == ("sha512", hashlib.sha512(DATA).hexdigest())
    assert demo.image.download_image(ident).content == DATA
    demo.image.delete_image(ident)
    with pytest.raises(NotFoundException):
        demo.image.get_image(ident)


def test_an_image_goes_from_queued_to_active_once(companions: Companions, name: str) -> None:
    made = companions.call("POST", "/image/v2/images", {"name": name})
    assert made.status_code == 201
    path = f"/image/v2/images/{made.json()['id']}"
    assert made.headers["Location"] == f"{companions.url}{path}"
    assert (made.json()["status"], made.json()["visibility"]) == ("queued", "shared")
    assert companions.call("GET", f"{path}/file").status_code == 204
    octets = {"Content-Type": "application/octet-stream"}
    assert companions.call("PUT", f"{path}/file", data=b"x", headers=octets).status_code == 400
    formats = [
        {"op": "replace", "path": "/disk_format", "value": "raw"},
        {"op": "add", "path": "/container_format", "value": "bare"},
    ]
    changed = companions.call("PATCH", path, data=json.dumps(formats), headers={"Content-Type": PATCH})
    assert changed.json()["disk_format"] == "raw"
    wrong = companions.call("PUT", f"{path}/file", data=b"x", headers={"Content-Type": "text/plain"})
    assert wrong.status_code == 415
    assert companions.call("PUT", f"{path}/file", data=b"12345678", headers=octets).status_code == 204
    assert companions.call("PUT", f"{path}/file", data=b"x", headers=octets).status_code == 409
    refused = companions.call("PATCH", path, data=json.dumps(formats), headers={"Content-Type": PATCH})
    assert refused.status_code == 403
    part = companions.call("GET", f"{path}/file", headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["Content-Range"]) == (206, b"345", "bytes 2-4/8")
    assert companions.call("GET", f"{path}/file", headers={"Range": "bytes=9-"}).status_code == 416


def test_data_in_chunks(companions: Companions, name: str) -> None:
    body = {"name": name, "disk_format": "raw", "container_format": "bare"}
    path = f"/image/v2/images/{companions.call('POST', '/image/v2/images', body).json()['id']}"
    chunks = (DATA[at : at + 100_000] for at in range(0, len(DATA), 100_000))
    octets = {"Content-Type": "application/octet-stream"}
    assert companions.call("PUT", f"{path}/file", data=chunks, headers=octets).status_code == 204
    assert companions.call("GET", f"{path}/file").content == DATA


def test_properties_are_patched(companions: Companions, demo: Connection, name: str) -> None:
    image = demo.image.create_image(name, disk_format="raw", container_format="bare", hw_machine_type="q35")
    demo.image.update_image(image, hw_machine_type="pc", os_distro="debian", min_ram=64)
    shown = demo.image.get_image(image)
    assert (shown.hw_machine_type, shown.os_distro, shown.min_ram) == ("pc", "debian", 64)
    path = f"/image/v2/images/{image.id}"
    for operation, code in (
        ({"op": "remove", "path": "/os_distro"}, 200),
        ({"op": "remove", "path": "/os_distro"}, 409),
        ({"op": "replace", "path": "/absent", "value": "x"}, 409),
        ({"op": "remove", "path": "/name"}, 403),
        ({"op": "replace", "path": "/status", "value": "active"}, 403),
        ({"op": "replace", "path": "/id", "value": "x"}, 403),
        ({"op": "add", "path": "/new", "value": 5}, 400),
        ({"op": "add", "path": "/a~1b", "value": "slash"}, 200),
        ({"op": "replace", "path": "/visibility", "value": "public"}, 403),
        ({"op": "replace", "path": "/tags", "value": ["x", "y", "x"]}, 200),
    ):
        answer = companions.call(
            "PATCH", path, user="demo", data=json.dumps([operation]), headers={"Content-Type": PATCH}
        )
        assert (answer.status_code, operation) == (code, operation)
    body = companions.call("GET", path, user="demo").json()
    assert (body["a/b"], body["tags"]) == ("slash", ["x", "y"])
    plain = companions.call("PATCH", path, [], user="demo")
    assert plain.status_code == 415


def test_who_sees_which_image(admin: Connection, new_project: Callable[..., Connection], name: str) -> None:
    owner, other = new_project(), new_project()
    private, shared = (uploaded(owner, name, b"x", visibility=kind) for kind in ("private", "shared"))
    community = uploaded(owner, name, b"x", visibility="community")
    public = uploaded(admin, name, b"x", visibility="public")

    def listed(connection: Connection, **query: str) -> set[str]:
        return {image.id for image in connection.image.images(name=name, **query)}

    assert listed(owner) == {private, shared, community, public}
    assert listed(other) == {public}
    assert listed(other, visibility="community") == {community}
    assert other.image.get_image(community).id == community
    for hidden in (private, shared):
        with pytest.raises(NotFoundException):
            other.image.get_image(hidden)
    with pytest.raises(ForbiddenException):
        owner.image.create_image(f"{name}-public", visibility="public")
    with pytest.raises(ForbiddenException):
        other.image.delete_image(public, ignore_missing=False)
    assert listed(admin) == {private, shared, community, public}


def test_members_of_a_shared_image(new_project: Callable[..., Connection], name: str) -> None:
    owner, other = new_project(), new_project()
    ident, member = uploaded(owner, name, b"x"), other.current_project_id
    owner.image.add_member(ident, member_id=member)
    with pytest.raises(ConflictException):
        owner.image.add_member(ident, member_id=member)
    assert other.image.get_image(ident).id == ident
    assert [image.id for image in other.image.images(name=name)] == []
    assert [image.id for image in other.image.images(name=name, member_status="pending")] == [ident]
    with pytest.raises(ForbiddenException):
        owner.image.update_member(member, ident, status="accepted")
    assert other.image.update_member(member, ident, status="accepted").status == "accepted"
    assert [image.id for image in other.image.images(name=name)] == [ident]
    assert [entry.member_id for entry in owner.image.members(ident)] == [member]
    owner.image.remove_member(member, ident)
    with pytest.raises(NotFoundException):
        other.image.get_image(ident)


def test_lists_are_filtered_and_paged(companions: Companions, new_project: Callable[..., Connection]) -> None:
    mine = new_project()
    idents = [
        uploaded(mine, f"i{number}", b"x" * (number + 1), tags=[f"t{number % 2}"]) for number in range(5)
    ]
    headers = {"X-Auth-Token": mine.session.get_token()}

    def listed(query: str) -> list[str]:
        answer = requests.get(
            f"{companions.url}/image/v2/images?owner={mine.current_project_id}&{query}",
            headers=headers,
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        return [image["id"] for image in answer.json()["images"]]

    assert listed("") == idents[::-1]
    assert listed("sort=name:asc") == idents
    assert listed("sort_key=size&sort_dir=asc&limit=2") == idents[:2]
    assert listed("tag=t1&sort=name:asc") == [idents[1], idents[3]]
    assert listed("size_min=2&size_max=3&sort=name:asc") == idents[1:3]
    assert listed('name=in:i1,"i3"&sort=name:asc') == [idents[1], idents[3]]
    assert listed("status=queued") == []
    assert listed("created_at=gt:2100-01-01T00:00:00Z") == []
    assert len(listed("created_at=lte:2100-01-01T00:00:00Z")) == 5
    assert [
        image.id for image in mine.image.images(owner=mine.current_project_id, limit=2, sort="name:asc")
    ] == idents
    bad = requests.get(f"{companions.url}/image/v2/images?marker=none", headers=headers, timeout=30)
    assert bad.status_code == 400


def test_a_deactivated_image_is_not_read(
    companions: Companions, admin: Connection, new_project: Callable[..., Connection], name: str
) -> None:
    mine, ident = new_project(), uploaded(admin, name, b"data", visibility="public")
    path = f"{companions.url}/image/v2/images/{ident}"
    assert mine.session.post(f"{path}/actions/deactivate", raise_exc=False).status_code == 403
    admin.image.deactivate_image(ident)
    assert mine.image.get_image(ident).status == "deactivated"
    assert mine.session.get(f"{path}/file", raise_exc=False).status_code == 403
    admin.image.reactivate_image(ident)
    assert mine.image.download_image(ident).content == b"data"


def test_a_protected_image_is_not_deleted(demo: Connection, name: str) -> None:
    image = demo.image.create_image(name, is_protected=True)
    with pytest.raises(ForbiddenException):
        demo.image.delete_image(image, ignore_missing=False)
    demo.image.update_image(image, is_protected=False)
    demo.image.delete_image(image, ignore_missing=False)


def test_tags(demo: Connection, name: str) -> None:
    image = demo.image.create_image(name)
    demo.image.add_tag(image, "one")
    assert demo.image.get_image(image).tags == ["one"]
    demo.image.remove_tag(image, "one")
    with pytest.raises(NotFoundException):
        demo.image.remove_tag(image, "one")


def test_virtual_size_of_qcow2(demo: Connection, name: str) -> None:
    header = b"QFI\xfb" + (3).to_bytes(4, "big") + bytes(16) + (5 * 2**30).to_bytes(8, "big") + bytes(100)
    image = demo.image.create_image(name, disk_format="qcow2", container_format="bare", data=header)
    assert demo.image.get_image(image).virtual_size == 5 * 2**30


def test_no_tasks_work_on_an_image(
    demo: Connection, new_project: Callable[..., Connection], name: str
) -> None:
    base = demo.session.get_endpoint(service_type="image")
    path = f"{base}/v2/images/{uploaded(demo, name, visibility='private')}/tasks"
    assert demo.session.get(path).json() == {"tasks": []}
    assert new_project().session.get(path, raise_exc=False).status_code == 404


def test_documents_of_the_api(companions: Companions, demo: Connection) -> None:
    assert companions.call("GET", "/image").status_code == 300
    assert companions.call("GET", "/image/versions").json()["versions"][0]["status"] == "CURRENT"
    for name in ("image", "images", "member", "members"):
        schema = companions.call("GET", f"/image/v2/schemas/{name}").json()
        assert (schema["name"], "properties" in schema) == (name, True)
    assert demo.image.get_import_info().import_methods["value"] == []
    html = companions.call("GET", "/image/v2/images/none")
    assert (html.status_code, html.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    plain = companions.call("GET", "/image/v2/images/none", headers={"Accept": "application/json"})
    assert plain.json()["code"] == "404 Not Found"
