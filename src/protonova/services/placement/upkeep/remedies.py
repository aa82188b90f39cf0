"""What heals a disagreement with the cloud: taking away what is left over, claiming what is lacking.

Each looks once more, right before it acts, with the owners of servers and operations.
"""

from __future__ import annotations

import sqlalchemy as sa

from protonova.common.v1 import server_pb2
from protonova.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from protonova.services.placement import tables
from protonova.services.placement.claims.change import Check, ConsumerChange
from protonova.services.placement.claims.combiner import Combiner
from protonova.services.placement.names import Vocabulary
from protonova.services.placement.upkeep.comparing import Holder
from protonova.services.placement.upkeep.region import Placed, Region
from protonova.services.runtime import channel, errors
from protonova.services.runtime.config import Conf
from protonova.services.runtime.database import Database


class Remover:
    """Takes away what a consumer holds, if it is of the generation that was seen."""

    def __init__(self, conf: Conf, db: Database) -> None:
        self._combiner = Combiner(
            db, Vocabulary(db), lambda _changes: None, attempts=conf.placement.allocation_conflict_retry_count
        )

    def remove(self, holder: Holder, region: Region) -> str:
        """For a consumer that nothing in the cloud stands behind. Raises errors.Aborted where something does, or
        where it has changed."""
        if not region.has_nothing_of(holder.id):
            raise errors.Aborted(f"There is something of {holder.id} after all.")
        self.take_back(holder.id, holder.generation)
        return ""

    def take_back(self, consumer_id: str, generation: int) -> None:
        """Raises CONCURRENT_UPDATE."""
        self._combiner.submit((ConsumerChange(consumer_id, check=Check.EXACT, generation=generation),))


class Claimer:
    """Claims for a server what it should hold on its host, as the scheduler does for a build."""

    def __init__(self, connected: channel.Channel, db: Database, remover: Remover) -> None:
        self._scheduler = scheduler_pb2_grpc.SchedulerServiceStub(connected)
        self._db = db
        self._remover = remover

    def claim(self, placed: Placed, region: Region) -> str:
        """Answers why it could not be done; empty = it was. Raises errors.Aborted where the server has changed."""
        server = region.still(placed)
        if server is None or self._generation(placed.id):
            raise errors.Aborted(f"Server {placed.id} has changed.")
        request = scheduler_pb2.SelectDestinationsRequest(spec=_spec(server), server_ids=[server.id])
        (selection,) = self._scheduler.SelectDestinations(request).selections
        if not selection.HasField("destination"):
            return selection.failure
        if region.still(placed) is None:
            # It may be in the middle of being deleted, and past giving back what it holds.
            self._remover.take_back(placed.id, self._generation(placed.id))
            raise errors.Aborted(f"Server {placed.id} has changed.")
        return ""

    def _generation(self, consumer_id: str) -> int:
        """0 where it holds nothing."""
        consumers = tables.consumers
        query = sa.select(consumers.c.generation).where(consumers.c.uuid == consumer_id)
        return self._db.read(lambda connection: connection.execute(query).scalar()) or 0


def _spec(server: server_pb2.Server) -> scheduler_pb2.RequestSpec:
    return scheduler_pb2.RequestSpec(
        project_id=server.project_id,
        user_id=server.user_id,
        flavor=server.flavor,
        image=server.image,
        boots_from_volume=any(map(_is_root_volume, server.block_devices)),
        host=server.host,
        node=server.node,
        cell_id=server.cell_id,
        skip_filters=True,
    )


def _is_root_volume(device: server_pb2.BlockDevice) -> bool:
    return (
        device.HasField("boot_index")
        and device.boot_index == 0
        and device.destination == server_pb2.BLOCK_DEVICE_DESTINATION_VOLUME
    )
