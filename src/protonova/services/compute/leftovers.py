"""What guests that went elsewhere have left on a host that was away meanwhile.

The agent asks its cell, whenever it reports all guests of a host: guests that were evacuated are removed, and the
cell is told, which releases what the host was still booked for; what was set aside for a move is discarded, or put
back (off) where the server lives here after all. It acts on what the cell names, never on what the cell does not
know.
"""

from __future__ import annotations

import logging

from protonova.conductor.v1 import migration_pb2 as pb
from protonova.conductor.v1 import migration_pb2_grpc
from protonova.services.compute.hosts import Host
from protonova.services.compute.virt import errors as virt_errors
from protonova.services.runtime import errors

LOG = logging.getLogger(__name__)


class Leftovers:
    def __init__(self, cell: migration_pb2_grpc.MigrationServiceStub) -> None:
        self._cell = cell

    def tidy(self, host: Host) -> None:
        """Raises transient errors of the cell, and what drivers raise."""
        kept = [pb.SetAside(server_id=server_id, label=label) for server_id, label in host.driver.asides()]
        try:
            found = self._cell.ListLeftovers(pb.ListLeftoversRequest(host=host.name, set_aside=kept))
        except errors.Unimplemented:
            # An older cell moves nothing.
            return
        for evacuated in found.evacuated:
            if not evacuated.guest_is_gone:
                LOG.warning("Guest %s was evacuated from %s: it is removed", evacuated.server_id, host.name)
                host.driver.destroy(evacuated.server_id)
            self._cell.CompleteEvacuation(
                pb.CompleteEvacuationRequest(host=host.name, migration_id=evacuated.migration_id)
            )
        for each in found.discard:
            host.driver.discard(each.server_id, each.label)
        for each in found.put_back:
            LOG.warning("Guest %s is put back on %s: its move has failed", each.server_id, host.name)
            try:
                host.driver.take_back(each.server_id, each.label, start=False)
            except virt_errors.DriverError as error:
                LOG.error("Guest %s cannot be put back on %s: %s", each.server_id, host.name, error)
