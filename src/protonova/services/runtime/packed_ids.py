"""Many ids in one message: 16 bytes each instead of a text, and no text made of them until one is looked at."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

_SIZE = 16
_TEXT = 36
_DASHES = (8, 13, 18, 23)


class PackedIds(Sequence[str]):
    """UUIDs in their order; `packed` is as it travels. Raises ValueError for what is not made of whole ids."""

    __slots__ = ("packed",)

    def __init__(self, packed: bytes) -> None:
        if len(packed) % _SIZE:
            raise ValueError(f"{len(packed)} bytes are no whole number of ids of {_SIZE} bytes.")
        self.packed = packed

    @classmethod
    def of(cls, ids: Sequence[str]) -> PackedIds | None:
        """None where one is not in a UUID's canonical form, which is what it would be unpacked to."""
        joined = "".join(ids)
        if not joined.isascii() or len(joined) != _TEXT * len(ids):
            return None
        dashes = np.frombuffer(joined.encode(), dtype=np.uint8).reshape(-1, _TEXT)[:, _DASHES]
        digits = joined.replace("-", "")
        if np.any(dashes != ord("-")):
            return None
        try:
            packed = bytes.fromhex(digits)
        except ValueError:
            return None
        return cls(packed) if packed.hex() == digits and len(packed) == _SIZE * len(ids) else None

    def __len__(self) -> int:
        return len(self.packed) // _SIZE

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        start = place % len(self) * _SIZE
        return str(uuid.UUID(bytes=self.packed[start : start + _SIZE]))

    def __iter__(self) -> Iterator[str]:
        return map(self.__getitem__, range(len(self)))
