"""Images like those that run on a host already."""

from __future__ import annotations

import numpy as np

from protonova.services.runtime.config import Conf
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.settings import ratios
from protonova.services.scheduler.table import HostTable
from protonova.services.scheduler.weighers.weigher import Weigher, Weights


class ImagePropertiesWeigher(Weigher):
    """How often servers on the host have the same image properties as the one asked for. Each counts 1, or by
    `image_props_weight_setting` as much as that says of the property ("name=weight") or of this value of it
    ("name=value=weight"); once something is set there, what is not named counts nothing."""

    name = "ImagePropertiesWeigher"
    option = "image_props_weight_multiplier"

    def __init__(self, conf: Conf) -> None:
        super().__init__(conf)
        self._settings = ratios(
            conf.filter_scheduler.image_props_weight_setting, "filter_scheduler.image_props_weight_setting"
        )

    def settled(self, request: Request) -> bool:
        return True

    def raw(self, hosts: HostTable, request: Request) -> Weights:
        wanted = {
            f"{name}={value}": self._weight(name, value) for name, value in request.image_properties.items()
        }
        wanted = {text: weight for text, weight in wanted.items() if weight}
        if not wanted:
            return np.zeros(len(hosts))
        return np.fromiter(
            (
                sum(weight * load.image_properties.get(text, 0) for text, weight in wanted.items())
                for load in hosts.loads
            ),
            np.float64,
            count=len(hosts),
        )

    def _weight(self, name: str, value: str) -> float:
        if not self._settings:
            return 1.0
        return self._settings.get(f"{name}={value}", self._settings.get(name, 0.0))
