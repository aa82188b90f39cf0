"""The forwarder: requests pass it whole, in little memory, and say so when nobody is behind it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import os
import resource
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cheroot.wsgi import Server

from protonova.gateway.forward import Forwarder

Application = Callable[..., Any]
MIB = 2**20


class Behind:
    """The server behind: it notes what it is asked, and answers by the path."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.broken = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        self.seen.append(environ)
        if path.endswith("/large"):
            start_response("200 OK", [("Content-Type", "application/octet-stream")])
            return (b"x" * MIB for _ in range(64))
        digest, size = hashlib.sha256(), 0
        try:
            while piece := environ["wsgi.input"].read(65536):
                digest.update(piece)
                size += len(piece)
        except ValueError:
            self.broken.set()
            raise
        if size < int(environ.get("CONTENT_LENGTH") or 0):
            self.broken.set()
        body = f"{environ['REQUEST_METHOD']} {path}?{environ['QUERY_STRING']} {size} {digest.hexdigest()}".encode()
        status = "204 No Content" if path.endswith("/empty") else "201 Created"
        length = [("Content-Length", str(len(body)))] if path.endswith("/measured") else []
        start_response(status, [("X-Answer", "yes"), ("X-Twice", "1"), ("X-Twice", "2"), *length])
        return [] if status.startswith("204") else [body]


class Running:
    """An application on a port of its own."""

    def __init__(self, application: Application, port: int = 0) -> None:
        self.server = Server(("127.0.0.1", port), application, numthreads=4)
        self.server.prepare()
        self.port: int = self.server.bind_addr[1]
        self._thread = threading.Thread(target=self.server.serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.server.stop()
        self._thread.join(10)


@pytest.fixture
def behind() -> Behind:
    return Behind()


@pytest.fixture
def client(behind: Behind) -> Iterator[http.client.HTTPConnection]:
    back = Running(behind)
    forwarder = Forwarder(f"http://127.0.0.1:{back.port}")
    front = Running(forwarder)
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=30)
    yield connection
    connection.close()
    front.stop()
    forwarder.close()
    back.stop()


def asked(
    client: http.client.HTTPConnection, *request: Any, **more: Any
) -> tuple[http.client.HTTPResponse, bytes]:
    client.request(*request, **more)
    answer = client.getresponse()
    return answer, answer.read()


def test_a_request_passes_as_it_is(client: http.client.HTTPConnection, behind: Behind) -> None:
    headers = {"X-Auth-Token": "t", "Content-Type": "application/json", "Connection": "keep-alive"}
    answer, body = asked(client, "POST", "/image/v2/a%20b/%C3%A4?x=1&y=%20z", b"{}", headers)
    assert answer.status == 201
    assert body.startswith("POST /image/v2/a b/Ã¤?x=1&y=%20z 2 ".encode())
    assert answer.headers.get_all("X-Twice") == ["1", "2"]
    (environ,) = behind.seen
    assert (environ["HTTP_X_AUTH_TOKEN"], environ["CONTENT_TYPE"]) == ("t", "application/json")
    assert environ["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    assert environ["HTTP_HOST"] == f"127.0.0.1:{client.port}"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PATCH", "PUT", "POST"])
def test_every_method(client: http.client.HTTPConnection, method: str) -> None:
    answer, body = asked(client, method, "/volume/v3/x")
    assert answer.status == 201
    assert (body == b"") == (method == "HEAD")
    answer, body = asked(client, method, "/volume/v3/empty")
    assert (answer.status, body) == (204, b"")


def test_connections_are_used_again(client: http.client.HTTPConnection, behind: Behind) -> None:
    for _ in range(5):
        asked(client, "GET", "/network/v2.0/ports")
    assert len({environ["REMOTE_PORT"] for environ in behind.seen}) == 1


def test_large_bodies_stream_both_ways(client: http.client.HTTPConnection) -> None:
    pieces = 64
    digest = hashlib.sha256(b"y" * MIB * pieces).hexdigest()
    tracemalloc.start()
    answer, body = asked(client, "PUT", "/image/f", (b"y" * MIB for _ in range(pieces)), encode_chunked=True,
                         headers={"Transfer-Encoding": "chunked"})  # fmt: skip
    assert body.decode().endswith(f" {pieces * MIB} {digest}")
    answer, body = asked(client, "PUT", "/image/f", (b"y" * MIB for _ in range(pieces)),
                         headers={"Content-Length": str(pieces * MIB)})  # fmt: skip
    assert body.decode().endswith(f" {pieces * MIB} {digest}")
    client.request("GET", "/image/large")
    answer = client.getresponse()
    size = 0
    while piece := answer.read(65536):
        size += len(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 64 * MIB
    assert peak < 16 * MIB


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_breaks_off_does_not_look_whole(
    client: http.client.HTTPConnection, behind: Behind, chunked: bool
) -> None:
    raw = socket.create_connection(("127.0.0.1", client.port))
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 1000000"
    raw.sendall(b"PUT /image/f HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
    raw.sendall(b"10000\r\n%b\r\n" % (b"z" * 65536) if chunked else b"z" * 65536)
    deadline = time.monotonic() + 20
    while not behind.seen:
        assert time.monotonic() < deadline
    raw.close()
    assert behind.broken.wait(20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def test_nobody_is_there() -> None:
    front = Running(Forwarder(f"http://127.0.0.1:{free_port()}"))
    client = http.client.HTTPConnection("127.0.0.1", front.port, timeout=30)
    answer, body = asked(client, "GET", "/identity/v3")
    assert (answer.status, answer.headers["Content-Type"]) == (503, "application/json")
    assert b'"code":503' in body
    front.stop()


def test_what_is_behind_comes_back(behind: Behind) -> None:
    """A kept connection that has gone stale is not the client's concern."""
    port = free_port()
    back = Running(behind, port)
    front = Running(Forwarder(f"http://127.0.0.1:{port}"))
    client = http.client.HTTPConnection("127.0.0.1", front.port, timeout=30)
    assert asked(client, "GET", "/x")[0].status == 201
    back.stop()
    assert asked(client, "GET", "/x")[0].status in (502, 503)
    again = Running(behind, port)
    assert asked(client, "POST", "/x", b"data")[0].status == 201
    again.stop()
    front.stop()


@pytest.mark.parametrize("path", ["/measured", "/chunked", "/empty"])
def test_a_connection_is_used_again(client: http.client.HTTPConnection, behind: Behind, path: str) -> None:
    for _ in range(3):
        asked(client, "GET", path)
    assert len({environ["REMOTE_PORT"] for environ in behind.seen}) == 1


def test_who_closes_late_closes_nothing_of_others(behind: Behind) -> None:
    """A server may close an answer when the next request is on its way over the same connection."""
    back = Running(behind)
    forwarder = Forwarder(f"http://127.0.0.1:{back.port}", timeout=10)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/measured", "wsgi.input": io.BytesIO()}
    first, second = (forwarder(dict(environ), lambda *_: None) for _ in range(2))
    assert b"".join(first) == b"".join(second)
    third = forwarder(dict(environ), lambda *_: None)
    first.close()
    second.close()
    assert b"".join(third).startswith(b"GET /measured?")
    forwarder.close()
    back.stop()


def test_an_answer_that_is_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"nonsense\r\n\r\n")

        threading.Thread(target=speak, daemon=True).start()
        front = Running(Forwarder(f"127.0.0.1:{listener.getsockname()[1]}"))
        client = http.client.HTTPConnection("127.0.0.1", front.port, timeout=30)
        assert asked(client, "GET", "/x")[0].status == 502
        front.stop()


def test_with_more_than_a_thousand_files_open(client: http.client.HTTPConnection) -> None:
    with contextlib.ExitStack() as stack:
        limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit < 4096:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, most), most))
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (limit, most))
        for _ in range(1100):
            stack.enter_context(open(os.devnull))
        for _ in range(3):
            answer, _ = asked(client, "GET", "/volume/v3/x")
            assert answer.status == 201
