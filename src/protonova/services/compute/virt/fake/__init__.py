"""The fake hypervisor."""

from .driver import FakeDriver, FakeSettings
from .faults import FaultPlan

__all__ = ["FakeDriver", "FakeSettings", "FaultPlan"]
