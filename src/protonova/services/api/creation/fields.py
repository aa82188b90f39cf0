"""Checks of a create request that need nothing but the request and the project's limits."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Mapping

from protonova.api.v1 import server_pb2 as pb
from protonova.services.api import usage
from protonova.services.api.creation import names
from protonova.services.runtime import errors

_USER_DATA_LENGTH = 65535
_MAX_TAGS = 50
_MAX_CERTIFICATES = 50
_TEXT = 255
_TAG = 60


def counts(request: pb.CreateServersRequest) -> tuple[int, int]:
    """How many servers at least and at most. Raises COUNT_INVALID."""
    least = request.min_count or 1
    most = request.max_count or max(least, 1)
    if least < 1 or most < 1 or least > most:
        raise errors.InvalidArgument(
            f"min_count {least} and max_count {most} must be at least 1, and min_count not above max_count.",
            reason="COUNT_INVALID",
            min_count=least,
            max_count=most,
        )
    return least, most


def check(request: pb.CreateServersRequest, most: int, limits: Mapping[str, int]) -> None:
    names.check(request.name)
    names.check_hostname(request.hostname, most)
    _user_data(request.user_data)
    metadata(request.metadata, limits)
    _tags(list(request.tags))
    _addresses(request)
    _files(request, limits)
    if len(request.trusted_image_certificates) > _MAX_CERTIFICATES:
        raise errors.InvalidArgument(
            f"At most {_MAX_CERTIFICATES} trusted image certificates can be given.",
            reason="CERTIFICATES_INVALID",
            cause="too_many",
        )


def metadata(items: Mapping[str, str], limits: Mapping[str, int]) -> None:
    """Raises METADATA_INVALID, QUOTA_EXCEEDED."""
    _within(limits, "metadata_items", len(items))
    for key, value in items.items():
        if not 0 < len(key) <= _TEXT or len(value) > _TEXT:
            raise errors.InvalidArgument(
                f"Metadata keys have 1 to {_TEXT} characters, values at most {_TEXT}.",
                reason="METADATA_INVALID",
                field="metadata",
                key=key[:_TEXT],
            )


def _user_data(text: str) -> None:
    if len(text) > _USER_DATA_LENGTH:
        raise errors.InvalidArgument(
            f"User data has {len(text)} characters; at most {_USER_DATA_LENGTH} are taken.",
            reason="USER_DATA_INVALID",
            cause="size",
        )
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise errors.InvalidArgument(
            "User data must be base64 text.", reason="USER_DATA_INVALID", cause="encoding"
        ) from None


def _tags(tags: list[str]) -> None:
    if len(set(tags)) > _MAX_TAGS:
        raise errors.InvalidArgument(
            f"A server has at most {_MAX_TAGS} tags.", reason="TOO_MANY_TAGS", limit=_MAX_TAGS
        )
    for tag in tags:
        if not 0 < len(tag) <= _TAG or "/" in tag or "," in tag:
            raise errors.InvalidArgument(
                f"Tag '{tag}' must have 1 to {_TAG} characters, without '/' and ','.",
                reason="TAG_INVALID",
                tag=tag,
            )


def _addresses(request: pb.CreateServersRequest) -> None:
    for field, kind in (("access_ip_v4", ipaddress.IPv4Address), ("access_ip_v6", ipaddress.IPv6Address)):
        text = getattr(request, field)
        try:
            if text:
                kind(text)
        except ValueError:
            raise errors.InvalidArgument(
                f"{field} '{text}' is not an address of that kind.", reason="ADDRESS_INVALID", field=field
            ) from None


def _files(request: pb.CreateServersRequest, limits: Mapping[str, int]) -> None:
    _within(limits, "injected_files", len(request.files))
    for file in request.files:
        _within(limits, "injected_file_path_bytes", len(file.path.encode()))
        _within(limits, "injected_file_content_bytes", len(file.contents))


def _within(limits: Mapping[str, int], resource: str, requested: int) -> None:
    if 0 <= limits[resource] < requested:
        raise usage.exceeded(resource, limits[resource], 0, requested)
