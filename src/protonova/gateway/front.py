"""The door: which application a request is for, told by its path before anything else is looked at.

It takes version, project id and the ``.json`` suffix out of the path, so that resources know nothing of them,
and answers what needs no token: version documents, the choice of versions, the OpenAPI documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

import orjson

from protonova.gateway import discovery
from protonova.gateway.faults import Fault
from protonova.gateway.links import base_of
from protonova.gateway.versions import COMPUTE, VersionNotServed

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_PHRASES = {200: "200 OK", 300: "300 Multiple Choices", 400: "400 Bad Request", 406: "406 Not Acceptable"}
# Below these, the last segment is free text that may well end in ".json".
_FREE_TEXT = frozenset(("metadata", "tags", "os-extra_specs", "os-keypairs", "ips"))


class Front:
    """WSGI: version documents, and the way to the applications behind."""

    def __init__(
        self,
        compute: Application,
        collections: frozenset[str],
        mounts: Mapping[str, Application],
        openapi: Callable[[str | None], dict[str, Any]],
        public_url: str = "",
    ) -> None:
        self._compute = compute
        self._collections = collections
        # First path segment → application, which gets the segment as part of SCRIPT_NAME.
        self._mounts = dict(mounts)
        self._openapi = openapi
        self._public_url = public_url

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        environ["protonova.path"] = path
        _, _, rest = path.partition("/")
        first, _, tail = rest.partition("/")
        if first in discovery.VERSIONS:
            if tail in ("", ".json"):
                return self._version(environ, start_response, first)
            return self._to_compute(environ, start_response, first, tail)
        mounted = self._mounts.get(first)
        if mounted is not None:
            environ["SCRIPT_NAME"] = f"{environ.get('SCRIPT_NAME', '')}/{first}"
            environ["PATH_INFO"] = f"/{tail}" if rest != first else ""
            return mounted(environ, start_response)
        base = base_of(environ, self._public_url)
        if rest in ("", ".json"):
            return _document(start_response, 200, discovery.all_versions(base))
        if rest == "openapi.json":
            return self._describe(environ, start_response)
        version = discovery.version_of_media_type(environ)
        if version is not None:
            return self._to_compute(environ, start_response, version, rest)
        return _document(start_response, 300, discovery.choices(base, rest))

    def _to_compute(
        self, environ: dict[str, Any], start_response: Callable[..., Any], version: str, tail: str
    ) -> Iterable[bytes]:
        if tail.endswith(".json"):
            tail = _without_suffix(tail)
        if version == "v2":
            tail = tail.removesuffix("/")  # its clients have always been free to write one
        collection, _, below = tail.partition("/")
        if collection not in self._collections and below:
            second = below.partition("/")[0]
            if second in self._collections:
                environ["protonova.project"] = collection
                tail = below
        environ["protonova.prefix"] = f"/{version}"
        environ["protonova.legacy"] = version == "v2"
        environ["PATH_INFO"] = f"/{tail}"
        return self._compute(environ, start_response)

    def _version(
        self, environ: dict[str, Any], start_response: Callable[..., Any], version: str
    ) -> Iterable[bytes]:
        headers: list[tuple[str, str]] = []
        if version == "v2.1":
            try:
                asked = COMPUTE.text(COMPUTE.requested(environ))
            except VersionNotServed as fault:
                return _document(start_response, 406, fault.document(), _version_headers(fault.wanted))
            except Fault as fault:
                return _document(start_response, 400, fault.document())
            headers = _version_headers(asked)
        body = discovery.one_version(base_of(environ, self._public_url), version)
        return _document(start_response, 200, body, headers)

    def _describe(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = parse_qs(environ.get("QUERY_STRING", "")).get("microversion", [None])[-1]
        try:
            return _document(start_response, 200, self._openapi(asked))
        except Fault as fault:
            return _document(start_response, fault.code, fault.document())


def _version_headers(version: str) -> list[tuple[str, str]]:
    return [
        ("OpenStack-API-Version", f"compute {version}"),
        ("X-OpenStack-Nova-API-Version", version),
        ("Vary", "OpenStack-API-Version, X-OpenStack-Nova-API-Version"),
    ]


def _without_suffix(path: str) -> str:
    bare = path.removesuffix(".json")
    above = bare.rpartition("/")[0].rpartition("/")[2]
    return path if above in _FREE_TEXT and not bare.endswith("/") else bare


def _document(
    start_response: Callable[..., Any],
    code: int,
    document: dict[str, Any],
    headers: list[tuple[str, str]] | None = None,
) -> Iterable[bytes]:
    body = orjson.dumps(document)
    start_response(
        _PHRASES[code],
        [*(headers or []), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))],
    )
    return [body]
