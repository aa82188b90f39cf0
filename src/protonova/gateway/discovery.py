"""Version documents and the choice of versions: what the Compute API tells before anyone has a token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from protonova.gateway.versions import COMPUTE

DOCUMENTATION = "https://docs.openstack.org/api-guide/compute/"
_MEDIA_VERSION = re.compile(r";\s*version=(2\.1|2(?:\.0)?)\s*(?:;|,|$)")
_MEDIA_NAME = re.compile(r"application/vnd\.openstack\.compute\.v(2\.1|2)\+json")

# Path prefix → how the version is shown.
VERSIONS: dict[str, dict[str, str]] = {
    "v2": {
        "id": "v2.0",
        "status": "DEPRECATED",
        "version": "",
        "min_version": "",
        "updated": "2011-01-21T11:33:21Z",
    },
    "v2.1": {
        "id": "v2.1",
        "status": "CURRENT",
        "version": COMPUTE.maximum,
        "min_version": COMPUTE.minimum,
        "updated": "2013-07-23T11:33:21Z",
    },
}
_MEDIA_TYPES = {
    name: [
        {
            "base": "application/json",
            "type": f"application/vnd.openstack.compute+json;version={name.removeprefix('v')}",
        }
    ]
    for name in VERSIONS
}


def all_versions(base: str) -> dict[str, Any]:
    """The document at the root."""
    return {
        "versions": [
            {**entry, "links": [{"rel": "self", "href": f"{base}/{name}/"}]}
            for name, entry in VERSIONS.items()
        ]
    }


def one_version(base: str, name: str) -> dict[str, Any]:
    """The document of one version."""
    return {
        "version": {
            **VERSIONS[name],
            "media-types": _MEDIA_TYPES[name],
            "links": [
                {"rel": "self", "href": f"{base}/{name}/"},
                {"rel": "describedby", "type": "text/html", "href": DOCUMENTATION},
            ],
        }
    }


def choices(base: str, path: str) -> dict[str, Any]:
    """The 300 for a path that leaves the version open."""
    return {
        "choices": [
            {
                "id": entry["id"],
                "status": entry["status"],
                "links": [{"rel": "self", "href": f"{base}/{name}/{path.lstrip('/')}"}],
                "media-types": _MEDIA_TYPES[name],
            }
            for name, entry in VERSIONS.items()
        ]
    }


def version_of_media_type(environ: Mapping[str, Any]) -> str | None:
    """The version a request without one in its path names in Content-Type, else in Accept."""
    for header in ("CONTENT_TYPE", "HTTP_ACCEPT"):
        value = environ.get(header) or ""
        match = _MEDIA_VERSION.search(value) or _MEDIA_NAME.search(value)
        if match:
            return "v2.1" if match[1] == "2.1" else "v2"
    return None
