"""The mends there are, in the order in which they build on each other."""

from __future__ import annotations

from typing import Any

from protonova.services.placement.holders import Nobody
from protonova.services.placement.upkeep.consumers import EmptyConsumers, MissingConsumers, UnnamedConsumers
from protonova.services.placement.upkeep.inventories import Capacity, Used
from protonova.services.placement.upkeep.mend import Mend
from protonova.services.placement.upkeep.trees import Roots


def migrations(nobody: Nobody) -> list[Mend[Any]]:
    """What is derived and can be old or wrong: brought to what this release expects, while services run."""
    return [MissingConsumers(nobody), UnnamedConsumers(nobody), Roots(), Capacity(), Used()]


def all_of(nobody: Nobody) -> list[Mend[Any]]:
    return [*migrations(nobody), EmptyConsumers()]
