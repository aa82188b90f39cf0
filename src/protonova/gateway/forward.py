"""Passing requests on to another HTTP server, as the companions are behind the gateway's own address.

Bodies are streamed both ways and never held whole, so an image of any size passes through in little memory.
Connections are kept and used again. Nothing here knows what the requests are about.

A body that ends too early is passed on as broken off, as far as the server in front tells: it does for a body with
a length; for one in chunks it must raise when the client goes away. Granian ends such a body as if it were whole.
"""

from __future__ import annotations

import http.client
import os
import select
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

CHUNK = 256 * 1024
# A body up to this size is read before it is sent: the request can then be sent again on a new connection.
_SMALL = 64 * 1024
# Headers that are about one connection only.
_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
    )
)
_SAFE_IN_PATH = "/:@!$&'()*+,;=~-._"

StartResponse = Callable[..., Any]
Body = bytes | Iterator[bytes] | None


class Forwarder:
    """WSGI: every request goes to `target`, e.g. ``http://127.0.0.1:8775``, under the path it came with."""

    def __init__(
        self, target: str, *, timeout: float = 600.0, connect_timeout: float = 5.0, idle: int = 32
    ) -> None:
        address = urlsplit(target if "//" in target else f"//{target}")
        if not address.hostname:
            raise ValueError(f"{target!r} names no host to forward to")
        self._host = address.hostname
        self._port = address.port or 80
        self._prefix = address.path.rstrip("/")
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._idle: deque[http.client.HTTPConnection] = deque(maxlen=idle)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        try:
            body, length = _body_of(environ)
            connection, answer = self._exchange(environ, body, length)
        except (ConnectionRefusedError, socket.gaierror):
            return _fault(
                start_response, "503 Service Unavailable", "The service behind this address is not running."
            )
        except TimeoutError:
            return _fault(
                start_response,
                "504 Gateway Timeout",
                "The service behind this address did not answer in time.",
            )
        except (OSError, http.client.HTTPException):
            return _fault(start_response, "502 Bad Gateway", "The service behind this address broke off.")
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
        start_response(f"{answer.status} {answer.reason}", headers)
        if answer.isclosed():
            self._keep(connection, answer)
            return [b""]
        return _Answer(answer, connection, self._keep)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _exchange(
        self, environ: dict[str, Any], body: Body, length: int | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send the request and read the head of the answer.

        A kept connection may have been closed by the other side the moment it is used. What can be repeated is
        then sent once more on a new connection; what cannot goes over a new connection from the start.
        """
        repeatable = body is None or isinstance(body, bytes)
        kept = self._kept() if repeatable else None
        if kept is not None:
            try:
                return kept, self._send(kept, environ, body, length)
            except (ConnectionError, http.client.RemoteDisconnected, http.client.CannotSendRequest):
                kept.close()
                if environ["REQUEST_METHOD"] == "POST":
                    raise
            except BaseException:
                kept.close()
                raise
        fresh = self._connect()
        try:
            return fresh, self._send(fresh, environ, body, length)
        except BaseException:
            fresh.close()
            raise

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._connect_timeout)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock.settimeout(self._timeout)
        return connection

    def _kept(self) -> http.client.HTTPConnection | None:
        """A connection left by an earlier request that the other side has not closed since."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.sock is not None and _is_quiet(connection.sock):
                return connection
            connection.close()

    def _keep(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        if answer.will_close or connection.sock is None or len(self._idle) == self._idle.maxlen:
            connection.close()
        else:
            self._idle.append(connection)

    def _send(
        self, connection: http.client.HTTPConnection, environ: dict[str, Any], body: Body, length: int | None
    ) -> http.client.HTTPResponse:
        path = quote(
            f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}".encode("latin-1"), _SAFE_IN_PATH
        )
        query = environ.get("QUERY_STRING", "")
        connection.putrequest(
            environ["REQUEST_METHOD"],
            f"{self._prefix}{path}{f'?{query}' if query else ''}",
            skip_host=True,
            skip_accept_encoding=True,
        )
        for name, value in _headers_of(environ):
            connection.putheader(name, value)
        if length is not None:
            connection.putheader("Content-Length", str(length))
        elif body is not None:
            connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        try:
            if isinstance(body, bytes):
                connection.send(body)
            elif body is not None:
                _stream(connection, body, chunked=length is None)
        except (BrokenPipeError, ConnectionResetError):
            # The other side may have answered before it read all of the body; its answer says why.
            answer = connection.getresponse()
            answer.will_close = True
            return answer
        return connection.getresponse()


def _stream(connection: http.client.HTTPConnection, body: Iterator[bytes], *, chunked: bool) -> None:
    for chunk in body:
        connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
    if chunked:
        connection.send(b"0\r\n\r\n")


class _Answer:
    """The body of an answer. The connection is used again only if the body was read to its end."""

    def __init__(
        self,
        answer: http.client.HTTPResponse,
        connection: http.client.HTTPConnection,
        keep: Callable[[http.client.HTTPConnection, http.client.HTTPResponse], None],
    ) -> None:
        self._answer, self._connection, self._keep = answer, connection, keep

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._answer.read1(CHUNK):
            yield chunk
        if self._answer.length:
            # An answer that broke off must not look whole.
            raise http.client.IncompleteRead(b"", self._answer.length)
        # Of an answer that told its length nobody has noticed the end. From here on the connection is others'.
        self._answer.close()
        self._keep(self._connection, self._answer)

    def close(self) -> None:
        if not self._answer.isclosed():
            self._answer.close()
            self._connection.close()


def _headers_of(environ: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        # Some servers put the process's own environment there too, and in it names like HTTP_PROXY.
        if name.startswith("HTTP_") and name not in os.environ:
            header = name[5:].replace("_", "-").title()
            if header.lower() not in _HOP and header not in ("Content-Length", "X-Forwarded-For"):
                yield header, value
    if environ.get("CONTENT_TYPE"):
        yield "Content-Type", environ["CONTENT_TYPE"]
    if environ.get("REMOTE_ADDR"):
        earlier = environ.get("HTTP_X_FORWARDED_FOR")
        yield "X-Forwarded-For", f"{earlier}, {environ['REMOTE_ADDR']}" if earlier else environ["REMOTE_ADDR"]


def _body_of(environ: dict[str, Any]) -> tuple[Body, int | None]:
    """The body and its length; no length means that it comes in chunks."""
    source = environ["wsgi.input"]
    text = environ.get("CONTENT_LENGTH") or ""
    if text.isdigit():
        length = int(text)
        if length <= _SMALL:
            data = b"".join(_pieces(source, length))
            return data, length
        return _pieces(source, length), length
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return _pieces(source, None), None
    # A server that has taken the chunks apart may not say so in a header.
    method = environ["REQUEST_METHOD"]
    if environ.get("wsgi.input_terminated") and method in ("POST", "PUT", "PATCH"):
        first = source.read(_SMALL)
        if not first:
            return b"", 0
        return _after(first, _pieces(source, None)), None
    return None, 0 if method in ("POST", "PUT", "PATCH") else None


def _after(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _pieces(source: Any, length: int | None) -> Iterator[bytes]:
    left = length
    while left is None or left > 0:
        piece = source.read(CHUNK if left is None else min(CHUNK, left))
        if not piece:
            if left:
                # The client broke off. To end the body here would make half of it look whole.
                raise ConnectionAbortedError("the client did not send the whole body")
            return
        if left is not None:
            left -= len(piece)
        yield piece


def _fault(start_response: StartResponse, status: str, message: str) -> list[bytes]:
    code, _, title = status.partition(" ")
    body = orjson.dumps({"error": {"code": int(code), "title": title, "message": message}})
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _is_quiet(sock: socket.socket) -> bool:
    """Whether nothing has come, not even its end. `poll`, because `select` knows the first 1,024 files only."""
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return not poller.poll(0)
