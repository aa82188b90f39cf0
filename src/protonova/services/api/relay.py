"""Calls that api only carries to the server's cell: what is asked, and what is answered, stays as it is.

Both contracts call the method the same and have the same fields under the same numbers, which a test holds: what
the caller wrote goes on as bytes, and so does the answer.

    class ServerService(server_pb2_grpc.ServerServiceServicer):
        PauseServer = carried("pause")
"""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message

from protonova.services.api import building
from protonova.services.api.cells import Cells
from protonova.services.api.mappings import Mappings, Place


class Relay:
    def __init__(self, cells: Cells, places: Mappings) -> None:
        self._cells = cells
        self._places = places

    def placed(self, server_id: str, action: str) -> Place:
        """Where a server is that must be in a cell. Raises SERVER_NOT_FOUND, SERVER_STATE."""
        place = self._places.locate(server_id)
        if place.building is not None:
            raise building.refused(place.building, action)
        return place

    def ask(self, place: Place, service: str, method: str, question: Message) -> bytes:
        """A conductor's answer to a message of the same fields. Raises CELL_UNAVAILABLE and what it raises."""
        path = f"/protonova.conductor.v1.{service}/{method}"
        asked = question.SerializeToString()
        return self._places.at(place, lambda cell_id: self._cells.conductor(cell_id).raw(path, asked))


class carried:
    """A method of a servicer that has a `relay`, named as the attribute it is put into."""

    def __init__(self, action: str) -> None:
        """`action`: what a refusal calls it."""
        self._action = action
        self._method = self._service = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._method = name
        self._service = next(
            base.__name__.removesuffix("Servicer")
            for base in owner.__mro__
            if base.__name__.endswith("Servicer") and base.__module__.endswith("_pb2_grpc")
        )

    def __get__(self, servicer: Any, owner: type) -> Any:
        relay: Relay = servicer.relay

        def call(request: Any, _: grpc.ServicerContext) -> Message:
            server_id = request.server_id if hasattr(request, "server_id") else request.id
            place = relay.placed(server_id, self._action)
            answer = relay.ask(place, self._service, self._method, request)
            return _answer(request, self._method).FromString(answer)

        return call


def _answer(request: Message, method: str) -> type[Message]:
    file: Any = request.DESCRIPTOR.file
    return message_factory.GetMessageClass(file.message_types_by_name[f"{method}Response"])
