"""What is the same for every operation: the root, versions, headers, bodies that are none, errors."""

from __future__ import annotations

import pytest

from tests.support.placement_cloud import MISSING, problem

PATH = "/resource_providers"


@pytest.mark.parametrize("path", ["/", ""])
@pytest.mark.parametrize("token", [None, "admin", "unknown"])
def test_the_root_needs_no_token(placement, path, token):
    answer = placement.get(path, token=token)
    assert answer.json == {
        "versions": [
            {
                "id": "v1.0",
                "min_version": "1.0",
                "max_version": "1.39",
                "status": "CURRENT",
                "links": [{"rel": "self", "href": ""}],
            }
        ]
    }


def test_the_root_is_framed_like_everything(placement):
    bare = placement.get("/", version=None)
    assert bare.headers["OpenStack-API-Version"] == "placement 1.0"
    assert "cache-control" not in bare.headers
    assert placement.get("/").headers["cache-control"] == "no-cache"
    assert problem(placement.get("/", version="1.40"), 406)["max_version"] == "1.39"
    refused = placement.call("POST", "/", {}, token=None)
    problem(refused, 405)
    assert refused.headers["Allow"] == "GET, HEAD"
    assert placement.call("HEAD", "/", token=None).data == b""


def test_versions(placement):
    answer = placement.get(PATH, version="latest")
    assert answer.headers["OpenStack-API-Version"] == "placement 1.39"
    assert placement.get(PATH, version=None).headers["OpenStack-API-Version"] == "placement 1.0"
    for wanted in ("1.40", "2.0", "1.99999999"):
        error = problem(placement.get(PATH, version=wanted), 406)
        assert (error["min_version"], error["max_version"]) == ("1.0", "1.39")
    for wanted in ("x", "1", "1.", ".1", "1.01", "1.2.3", "-1.2", "one.two", "1,2"):
        problem(placement.get(PATH, version=wanted), 400)


def test_the_header_may_name_other_services(placement):
    for header, expected in (
        ("compute 2.90, placement 1.14", "1.14"),
        ("placement 1.3, compute 2.1", "1.3"),
        ("Placement 1.7", "1.7"),
        ("compute 2.90", "1.0"),
    ):
        answer = placement.get(PATH, version=None, headers={"OpenStack-API-Version": header})
        assert answer.headers["OpenStack-API-Version"] == f"placement {expected}"


def test_codes_of_errors_since_1_23(placement):
    assert "code" not in problem(placement.get(f"{PATH}/{MISSING}", version="1.22"), 404)
    error = problem(placement.get(f"{PATH}/{MISSING}", version="1.23"), 404, "placement.undefined_code")
    assert error["title"] == "Not Found"
    assert MISSING in error["detail"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/resource_provider", f"{PATH}/{MISSING}/nothing", "/traits/A/B", "/v1.0"]
)
def test_paths_that_are_nowhere(placement, path):
    problem(placement.get(path), 404)
    problem(placement.call("POST", path, {}), 404)


@pytest.mark.parametrize(
    ("accept", "code"),
    [
        (None, 200),
        ("*/*", 200),
        ("application/*", 200),
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("text/html, application/json;q=0.5", 200),
        ("text/html", 406),
        ("application/xml, text/plain", 406),
    ],
)
def test_accept(placement, accept, code):
    answer = placement.get(PATH, headers={"Accept": accept} if accept else {})
    assert answer.status_code == code
    if code != 200:
        problem(answer, code, None, "application/json")


@pytest.mark.parametrize(
    ("data", "kind", "code", "word"),
    [
        (b"{", "application/json", 400, "JSON"),
        (b"", "application/json", 400, "JSON"),
        (b"\xff\xfe", "application/json", 400, "JSON"),
        (b'{"name": "\xff"}', "application/json", 400, "JSON"),
        (b'{"name": "\\ud800"}', "application/json", 400, "JSON"),
        (b'{"name": NaN}', "application/json", 400, "JSON"),
        (b"[" * 5000, "application/json", 400, "JSON"),
        (b"[]", "application/json", 400, "object"),
        (b"null", "application/json", 400, "object"),
        (b'"name"', "application/json", 400, "object"),
        (b"{}", "application/json", 400, "name"),
        (b"{}", "text/plain", 415, "text/plain"),
        (b"{}", "application/xml", 415, "application/xml"),
        (b"{}", None, 400, "Content-Type"),
        (b"", None, 415, "application/json"),
        (b'{"name": "' + b"x" * (4 << 20) + b'"}', "application/json", 413, "4194304"),
    ],
)
def test_bodies_that_are_none(placement, data, kind, code, word):
    before = placement.state()
    problem(placement.call("POST", PATH, data=data, content_type=kind), code, None, word)
    assert placement.state() == before


def test_a_body_says_what_it_is_even_where_nobody_reads_it(placement):
    problem(placement.call("PUT", "/traits/CUSTOM_GOLD", data=b"{}"), 400, None, "Content-Type")
    answer = placement.call("PUT", "/traits/CUSTOM_GOLD", data=b"whatever", content_type="text/plain")
    assert answer.status_code == 201


def test_lengths_that_are_none(placement):
    for length in ("x", "-1", "\xb2", "1.5"):
        headers = {"X-Auth-Token": "admin"}
        environ = {"CONTENT_LENGTH": length, "CONTENT_TYPE": "application/json"}
        answer = placement.client.post(PATH, headers=headers, environ_overrides=environ)
        problem(answer, 400, None, "Content-Length")


@pytest.mark.parametrize("query", ["name=%ff", "%fe=a", "name=%00", "name=a%00b", "name=\xe9"])
def test_queries_that_are_no_text(placement, query):
    problem(placement.get("/resource_providers", query=query), 400, None, "UTF-8")


@pytest.mark.parametrize("segment", ["%00", "a%00b", "%ff", "..%2f", "%F0%9F%8C%B5", "x" * 30000, "'%22;--"])
def test_paths_with_odd_letters(placement, segment):
    for path in (
        f"{PATH}/{segment}",
        f"{PATH}/{segment}/inventories",
        f"{PATH}/{segment}/allocations",
        f"/resource_classes/{segment}",
        f"/traits/{segment}",
    ):
        problem(placement.get(path), 404)
        nowhere = "%00" in segment or "%2f" in segment or not path.endswith("allocations")
        problem(placement.call("DELETE", path), 404 if nowhere else 405)


def test_unknown_parameters(placement):
    for path in (
        PATH,
        f"{PATH}/{MISSING}",
        f"{PATH}/{MISSING}/inventories",
        "/traits",
        "/traits/CUSTOM_GOLD",
        "/resource_classes",
        f"/allocations/{MISSING}",
        "/usages?project_id=p",
        "/allocation_candidates?resources=VCPU:1",
    ):
        joint = "&" if "?" in path else "?"
        problem(placement.get(f"{path}{joint}bogus=1"), 400, None, "bogus")


def test_below_another_path(placement):
    uuid = placement.provider("a")
    below = {"environ_overrides": {"SCRIPT_NAME": "/placement"}, "headers": {"X-Auth-Token": "admin"}}
    links = placement.client.get(f"{PATH}/{uuid}", **below).json["links"]
    assert links[0] == {"rel": "self", "href": f"/placement{PATH}/{uuid}"}
    made = placement.client.post(PATH, json={"name": "b"}, **below)
    assert made.headers["Location"].startswith(f"http://localhost/placement{PATH}/")
    assert placement.client.get("", environ_overrides={"SCRIPT_NAME": "/placement"}).status_code == 200
