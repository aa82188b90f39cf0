"""The types bodies of the Placement API are declared with."""

from __future__ import annotations

from protonova.gateway.schema import LARGE, MOST, UUID, Arr, Field, Map, Obj, Plain, text

STRICT = "1.0"
UUID_KEY = r"^[0-9a-fA-F-]{36}$"
CLASS_NAME = text(1, 255, r"^[A-Z0-9_]+$")
CUSTOM_NAME = text(1, 255, r"^CUSTOM_[A-Z0-9_]+$")
CLASS_KEY = r"^[A-Z0-9_]{1,255}$"
NAME = text(1, 200, format="storable")
HOLDER = text(1, 255, format="storable")
GENERATION = Plain(type="integer", minimum=-LARGE, maximum=LARGE)
POSITIVE = Plain(type="integer", minimum=1, maximum=MOST)
NON_NEGATIVE = Plain(type="integer", minimum=0, maximum=MOST)

INVENTORY_FIELDS = (
    Field("total", POSITIVE, required=True),
    Field("reserved", NON_NEGATIVE),
    Field("min_unit", POSITIVE),
    Field("max_unit", POSITIVE),
    Field("step_size", POSITIVE),
    Field("allocation_ratio", Plain(type="number", exclusiveMinimum=0, maximum=3.40282e38)),
)
INVENTORY = Obj(*INVENTORY_FIELDS)
INVENTORIES = Map(CLASS_KEY, INVENTORY)
AMOUNTS = Map(CLASS_KEY, Plain(type="integer", minimum=1, maximum=LARGE), minProperties=1)
AGGREGATES = Arr(UUID, uniqueItems=True)
