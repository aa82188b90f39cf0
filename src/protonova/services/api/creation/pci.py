"""The PCI devices that a flavor asks for, or a clear refusal.

A flavor names aliases that the operator defined; how near the devices are to the guest's NUMA cells says the flavor
or the image, and where neither does the alias.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import NoReturn

from protonova.common.v1 import pci_pb2 as pb
from protonova.common.v1.flavor_pb2 import Flavor
from protonova.services.pci import words
from protonova.services.pci.aliases import Alias, read
from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf

ALIAS_KEY = "pci_passthrough:alias"
_POLICY_KEY = "hw:pci_numa_affinity_policy"
_POLICY_PROPERTY = "hw_pci_numa_affinity_policy"
_WISH = re.compile(r"([^:]+):(\d{1,5})")
# Each device may be a group of a query to placement, which takes no more.
_MOST_DEVICES = 64


def aliases(conf: Conf) -> dict[str, Alias]:
    """By name. Raises OPTION_INVALID."""
    try:
        return read(conf.pci.alias)
    except ValueError as error:
        raise errors.InvalidArgument(
            f"[pci]alias: {error}", reason="OPTION_INVALID", option="[pci]alias"
        ) from error


def requests(
    flavor: Flavor, properties: Mapping[str, str], known: Mapping[str, Alias]
) -> list[pb.PciRequest]:
    """In the order in which they are named, each with an id of its own. Raises PCI_INVALID, naming the key."""
    policy = _policy(flavor.extra_specs, properties)
    text = flavor.extra_specs.get(ALIAS_KEY, "").strip()
    found = []
    for wish in text.split(",") if text else ():
        alias, count = _wish(wish.strip(), known)
        found.append(
            pb.PciRequest(
                id=str(uuid.uuid4()),
                alias=alias.name,
                count=count,
                alternatives=alias.alternatives,
                numa_policy=policy or alias.numa_policy,
            )
        )
    if sum(request.count for request in found) > _MOST_DEVICES:
        _refuse(ALIAS_KEY, f"a server can have at most {_MOST_DEVICES} devices")
    return found


def _wish(text: str, known: Mapping[str, Alias]) -> tuple[Alias, int]:
    match = _WISH.fullmatch(text)
    if match is None:
        _refuse(ALIAS_KEY, f"'{text}' is not of the form alias:count")
    name, count = match[1].strip(), int(match[2])
    if name not in known:
        _refuse(ALIAS_KEY, f"there is no PCI alias '{name}'")
    if not count:
        _refuse(ALIAS_KEY, f"no device is asked for by '{text}'")
    return known[name], count


def _policy(extra_specs: Mapping[str, str], properties: Mapping[str, str]) -> pb.PciNumaPolicy.ValueType:
    """Of flavor and image; 0 where neither says."""
    own, image = extra_specs.get(_POLICY_KEY, "").strip(), properties.get(_POLICY_PROPERTY, "").strip()
    for key, text in ((_POLICY_KEY, own), (_POLICY_PROPERTY, image)):
        if text and text not in words.POLICIES:
            _refuse(key, f"'{text}' is none of {', '.join(words.POLICIES)}")
    if own and image and own != image:
        _refuse(_POLICY_PROPERTY, f"an image cannot change {_POLICY_KEY}, which is {own}")
    return words.POLICIES.get(own or image, pb.PCI_NUMA_POLICY_UNSPECIFIED)


def _refuse(key: str, why: str) -> NoReturn:
    raise errors.InvalidArgument(f"{key}: {why}.", reason="PCI_INVALID", key=key)
