"""Says what a refused call is to answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from protonova.services.runtime import errors


@contextlib.contextmanager
def refused(kind: type[errors.Error], reason: str, **facts: str) -> Iterator[None]:
    with pytest.raises(kind) as raised:
        yield
    assert raised.value.reason == reason
    assert facts.items() <= raised.value.facts.items()
