"""Servers that were deleted long ago: what is forgotten of them, and what never is."""

import pytest
import sqlalchemy as sa

from protonova.common.v1 import upkeep_pb2
from protonova.services.api import tables


def purge(api) -> int:
    """How many servers it forgets."""
    return api.upkeep.RunUpkeep(upkeep_pb2.RunUpkeepRequest(name="purge-deleted")).upkeep.last_count


def known(region) -> set[str]:
    return {row.id for row in region.rows(sa.select(tables.instance_mappings.c.id))}


@pytest.mark.parametrize(("days", "forgotten"), [(1e-9, True), (1, False), (0, False)])
def test_deleted_servers_are_forgotten_when_their_time_is_over(any_region, days, forgotten):
    region = any_region
    region.add_cell()
    gone, stays = region.create(), region.create()
    for answer in (gone, stays):
        region.built(answer)
    region.delete(gone.servers[0].id)
    region.release(gone.servers[0].id)
    hasty = region.add_replica(keep_deleted_days=days)
    assert purge(hasty) == (1 if forgotten else 0)
    assert (gone.servers[0].id in known(region)) is not forgotten
    assert bool(region.operations(gone.reservation_id)) is not forgotten
    assert stays.servers[0].id in known(region)
    assert region.operations(stays.reservation_id)
    assert region.used()["instances"] == 1
