"""Options that aggregates set for their hosts: metadata of the option's name stands in its place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from protonova.services.scheduler.aggregates import Aggregate
from protonova.services.scheduler.table import HostTable

LOG = logging.getLogger(__name__)


def numbers(
    hosts: HostTable, key: str, option: float, parse: Callable[[str], float] = float
) -> npt.NDArray[np.float64]:
    """For each row the smallest number its aggregates give under a key; the option where they give none, or
    something that is no number."""

    def judge(aggregates: tuple[Aggregate, ...]) -> float:
        texts = sorted({one.metadata[key] for one in aggregates if key in one.metadata})
        try:
            found = [parse(text) for text in texts]
        except ValueError:
            _warn(key, ", ".join(texts), option)
            return option
        return min((number for number in found if not np.isnan(number)), default=option)

    if key not in hosts.metadata_keys:
        return np.full(len(hosts), option, dtype=np.float64)
    return hosts.by_aggregates(judge, np.float64)


def items(aggregates: tuple[Aggregate, ...], key: str) -> set[str]:
    """What all of them list under a key, separated by commas; empty when none has the key."""
    return {
        item.strip() for one in aggregates if key in one.metadata for item in one.metadata[key].split(",")
    }


@lru_cache(maxsize=1024)
def _warn(key: str, texts: str, option: float) -> None:
    """Once for each."""
    LOG.warning("Aggregates say %s=%s, which is no number; %s is taken.", key, texts, option)
