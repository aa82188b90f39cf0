"""An identity service that validates tokens, small enough to see through."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson


class Keystone:
    """``tokens`` maps a token to its body; ``validations`` counts how often each was asked about."""

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.validations: list[str] = []
        self.broken = False
        keystone = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self, code: int, document: Any, **headers: str) -> None:
                body = orjson.dumps(document)
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                if not self.path.startswith("/v3/auth/tokens"):
                    links = [{"rel": "self", "href": keystone.url}]
                    self._answer(200, {"version": {"id": "v3.14", "status": "stable", "links": links}})
                    return
                token = self.headers["X-Subject-Token"]
                keystone.validations.append(token)
                if keystone.broken:
                    self._answer(500, {})
                elif token in keystone.tokens:
                    self._answer(200, {"token": keystone.tokens[token]})
                else:
                    self._answer(404, {"error": {"code": 404}})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(201, {"token": keystone.token()}, X_Subject_Token="service-token")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v3"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def token(self, *roles: str, expires: str = "2099-01-01T00:00:00.000000Z", **more: Any) -> dict[str, Any]:
        domain = {"id": "default", "name": "Default"}
        endpoints = [
            {"id": kind, "interface": kind, "region": "R", "region_id": "R", "url": self.url}
            for kind in ("public", "internal", "admin")
        ]
        return {
            "methods": ["password"],
            "user": {"id": "u1", "name": "demo", "domain": domain},
            "project": {"id": "p1", "name": "demo", "domain": domain},
            "roles": [{"id": role, "name": role} for role in roles],
            "catalog": [
                {"type": "identity", "name": "keystone", "id": "i", "endpoints": endpoints},
                {"type": "compute", "name": "nova", "id": "c", "endpoints": []},
            ],
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "expires_at": expires,
            **more,
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
