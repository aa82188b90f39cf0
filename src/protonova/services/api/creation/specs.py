"""Extra specs of a flavor beside the properties of an image: each `hw:name` has its twin `hw_name`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from protonova.services.numa import cpus
from protonova.services.runtime import errors

_LARGEST = 2**31 - 1


def refuse(key: str, why: str) -> NoReturn:
    raise errors.InvalidArgument(f"{key}: {why}.", reason="NUMA_INVALID", key=key)


class Specs:
    """Both, by the name they have in common. All that reads them raises NUMA_INVALID for what cannot be read."""

    def __init__(self, extra_specs: Mapping[str, str], properties: Mapping[str, str]) -> None:
        self.extra_specs = extra_specs
        self.properties = properties

    def flavor(self, name: str) -> str:
        return self.extra_specs.get(f"hw:{name}", "").strip()

    def image(self, name: str) -> str:
        return self.properties.get(f"hw_{name}", "").strip()

    def key_of(self, name: str) -> str:
        """The key of the one that says it, the flavor's if both or none do."""
        return f"hw_{name}" if self.image(name) and not self.flavor(name) else f"hw:{name}"

    def exclusive(self, name: str) -> tuple[str, str]:
        """Key and value of what only one of them may say."""
        own, image = self.flavor(name), self.image(name)
        if own and image:
            refuse(f"hw_{name}", f"an image cannot say what its flavor says by hw:{name}")
        return self.key_of(name), own or image

    def numbered(self, name: str) -> tuple[str, dict[int, str]]:
        """Key without its number, and the values by number, of what only one of them may say."""
        own = _numbered(self.extra_specs, f"hw:{name}.")
        image = _numbered(self.properties, f"hw_{name}.")
        if own and image:
            refuse(f"hw_{name}.{min(image)}", f"an image cannot say what its flavor says by hw:{name}")
        return (f"hw_{name}", image) if image else (f"hw:{name}", own)

    def choice(self, key: str, text: str, known: Mapping[str, int]) -> int:
        """The value a word stands for; 0 for none."""
        if not text:
            return 0
        found = known.get(text)
        if found is None:
            refuse(key, f"'{text}' is none of {', '.join(known)}")
        return found

    def cpu_set(self, key: str, text: str, vcpus: int) -> set[int]:
        """CPUs of a guest with so many."""
        try:
            found = cpus.parse(text, range(vcpus))
        except ValueError as error:
            refuse(key, str(error))
        if found and max(found) >= vcpus:
            refuse(key, f"there is no CPU {max(found)}: the flavor has {vcpus}, numbered from 0")
        return found

    def number(self, key: str, text: str, *, least: int) -> int:
        if not re.fullmatch(r"\d{1,10}", text) or not least <= int(text) <= _LARGEST:
            refuse(key, f"'{text}' is no whole number from {least} on")
        return int(text)


def _numbered(values: Mapping[str, str], prefix: str) -> dict[int, str]:
    found = {}
    for key, value in values.items():
        number = key.removeprefix(prefix)
        if key.startswith(prefix) and re.fullmatch(r"\d{1,6}", number):
            found[int(number)] = value
    return found
