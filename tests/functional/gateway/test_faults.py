"""What goes wrong, and how it is told."""

from __future__ import annotations

import orjson
import pytest

from protonova.gateway.compute.gone import ROUTES as GONE
from protonova.services.runtime import errors

FAR = "00000000-0000-0000-0000-00000000ffff"


def fault(answer, code, element):
    assert answer.status_code == code
    assert set(answer.json) == {element}
    assert answer.json[element]["code"] == code
    assert answer.json[element]["message"]
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Compute-Request-Id"].startswith("req-")


def test_unknown_paths_and_methods(cloud):
    fault(cloud.get("/nothing"), 404, "itemNotFound")
    fault(cloud.get("/servers/a/b/c/d"), 404, "itemNotFound")
    fault(cloud.get("/servers/"), 404, "itemNotFound")
    fault(cloud.call("DELETE", f"/servers/{FAR}/"), 404, "itemNotFound")
    fault(cloud.call("DELETE", "/servers"), 404, "itemNotFound")
    fault(cloud.call("PATCH", "/servers"), 404, "itemNotFound")
    fault(
        cloud.call("PUT", "/flavors/1", {"flavor": {"description": "x"}}, version="2.54"), 404, "itemNotFound"
    )
    fault(cloud.get(f"/servers/{FAR}"), 404, "itemNotFound")


def test_no_token(cloud):
    assert cloud.get("/servers", token=None).status_code == 401
    assert cloud.get("/nothing", token=None).status_code == 401


def test_bodies(cloud):
    fault(cloud.call("POST", "/servers"), 400, "badRequest")
    fault(cloud.call("POST", "/servers", data=b"{", content_type="application/json"), 400, "badRequest")
    fault(
        cloud.call("POST", "/servers", data=b'{"a": "\xff"}', content_type="application/json"),
        400,
        "badRequest",
    )
    fault(cloud.call("POST", "/servers", data=b"[]", content_type="application/json"), 400, "badRequest")
    fault(cloud.call("POST", "/servers", data=b"<a/>", content_type="application/xml"), 415, "badMediaType")
    large = b'{"server": "' + b"x" * 114688 + b'"}'
    fault(cloud.call("POST", "/servers", data=large, content_type="application/json"), 413, "overLimit")
    fault(cloud.call("POST", "/servers", {"server": {}, "extra": 1}), 400, "badRequest")


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/json; charset=utf-8", "application/vnd.openstack.compute+json"]
)
def test_content_types_that_mean_json(cloud, kind):
    server = cloud.put_server()
    body = orjson.dumps({"os-stop": None})
    answer = cloud.call("POST", f"/servers/{server.id}/action", data=body, content_type=kind)
    assert answer.status_code == 202


def test_accept_never_refuses(cloud):
    assert cloud.get("/flavors", headers={"Accept": "application/xml"}).status_code == 200


def test_services_away(cloud):
    cloud.servers.refuse["GetServer"] = errors.Unavailable("nobody", "SERVICE_UNREACHABLE")
    fault(cloud.get(f"/servers/{FAR}"), 503, "serviceUnavailable")
    cloud.servers.refuse["GetServer"] = errors.DeadlineExceeded("late")
    fault(cloud.get(f"/servers/{FAR}"), 503, "serviceUnavailable")


def test_nothing_inside_is_told(cloud):
    cloud.servers.refuse["GetServer"] = errors.Internal("password=secret")
    answer = cloud.get(f"/servers/{FAR}")
    fault(answer, 500, "computeFault")
    assert "secret" not in answer.text
    cloud.servers.refuse["GetServer"] = ZeroDivisionError("secret")
    answer = cloud.get(f"/servers/{FAR}")
    fault(answer, 500, "computeFault")
    assert "secret" not in answer.text


def _filled(path):
    return path.replace("{id}", "x").replace("{key}", "k").replace("{", "").replace("}", "")


@pytest.mark.parametrize("route", GONE, ids=lambda route: " ".join(route))
@pytest.mark.parametrize("version", ["2.1", "2.104"])
def test_what_is_gone(cloud, route, version):
    method, path, *action = route
    body = {action[0]: None} if action else ({"any": 1} if method in ("POST", "PUT") else None)
    fault(cloud.call(method, _filled(path), body, version=version), 410, "computeFault")


def test_extensions(cloud):
    listed = cloud.get("/extensions").json["extensions"]
    assert {"alias", "name", "namespace", "description", "links", "updated"} == set(listed[0])
    assert cloud.get("/extensions/os-keypairs").json["extension"]["alias"] == "os-keypairs"
    assert cloud.get("/extensions/os-hosts").json["extension"]["name"] == "Hosts"
    assert cloud.get("/extensions/none").status_code == 404


def test_openapi_is_served(cloud):
    assert cloud.client.get("/openapi.json").json["info"]["version"] == "2.104"
    assert cloud.client.get("/openapi.json?microversion=2.19").json["info"]["version"] == "2.19"
    assert cloud.client.get("/openapi.json?microversion=2.999").status_code == 406
    assert cloud.client.get("/openapi.json?microversion=x").status_code == 400
