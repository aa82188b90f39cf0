"""Calls between services: context, errors, deadlines, waiting, health, reflection, TLS."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from protonova.common.v1 import operation_pb2 as pb
from protonova.common.v1 import operation_pb2_grpc as rpc
from protonova.conductor.v1 import host_pb2, host_pb2_grpc
from protonova.services.runtime import channel, config, context, errors
from protonova.services.runtime.server import Server
from tests.support.certificates import Authority

PATIENCE = 10.0


class Operations(rpc.OperationServiceServicer):
    """Answers with what it was asked to do: the id is the name of a method."""

    def __init__(self) -> None:
        self.seen: list[context.RequestContext] = []
        self.release = threading.Event()

    def GetOperation(self, request: pb.GetOperationRequest, _call: Any) -> pb.GetOperationResponse:
        self.seen.append(context.current())
        return getattr(self, request.id)()

    def tell(self) -> pb.GetOperationResponse:
        return pb.GetOperationResponse(operation=pb.Operation(step=f"{context.remaining():.0f}"))

    def refuse(self) -> pb.GetOperationResponse:
        raise errors.FailedPrecondition(
            "Nicht möglich.", reason="INSTANCE_INVALID_STATE", attr="vm_state", state="ERROR"
        )

    def stumble(self) -> pb.GetOperationResponse:
        raise KeyError("the password")

    def hang(self) -> pb.GetOperationResponse:
        self.release.wait(PATIENCE)
        return pb.GetOperationResponse()


class Hosts(host_pb2_grpc.HostServiceServicer):
    def WatchHosts(self, request: host_pb2.WatchHostsRequest, _call: Any) -> Iterator[Any]:
        for revision in range(1, request.resume_revision + 1):
            yield host_pb2.WatchHostsResponse(deleted_node_id="x", revision=revision)
        raise errors.Aborted("enough", reason="ENOUGH", at=request.resume_revision)


@pytest.fixture
def servicer() -> Iterator[Operations]:
    servicer = Operations()
    yield servicer
    servicer.release.set()


@pytest.fixture
def serve(servicer: Operations) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(port: int = 0, **options: Any) -> Server:
        server = Server(config.load(**options), "conductor", f"127.0.0.1:{port}")
        server.add(rpc.add_OperationServiceServicer_to_server, servicer)
        server.add(host_pb2_grpc.add_HostServiceServicer_to_server, Hosts())
        server.start()
        servers.append(server)
        return server

    yield start
    servicer.release.set()
    for server in servers:
        server.stop(0)


@pytest.fixture
def stub(serve: Callable[..., Server]) -> Iterator[rpc.OperationServiceStub]:
    with channel.connect(config.load(), serve().address) as connection:
        yield rpc.OperationServiceStub(connection)


def _ask(stub: rpc.OperationServiceStub, what: str, **options: Any) -> pb.GetOperationResponse:
    return stub.GetOperation(pb.GetOperationRequest(id=what), **options)


def test_the_context_travels(stub: rpc.OperationServiceStub, servicer: Operations) -> None:
    asked = context.RequestContext(
        request_id="req-1",
        user_id="u",
        project_id="p",
        roles=("member", "reader"),
        is_admin=True,
        global_request_id="req-0",
        trace_parent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        user_name="Zoë",
        project_name="プロジェクト",
    )
    with context.use(asked):
        _ask(stub, "tell")
    _ask(stub, "tell")
    assert servicer.seen == [asked, context.RequestContext()]


def test_a_refusal_keeps_its_reason_and_facts(stub: rpc.OperationServiceStub) -> None:
    with pytest.raises(errors.FailedPrecondition) as refused:
        _ask(stub, "refuse")
    assert refused.value.message == "Nicht möglich."
    assert refused.value.reason == "INSTANCE_INVALID_STATE"
    assert refused.value.facts == {"attr": "vm_state", "state": "ERROR"}
    with pytest.raises(errors.FailedPrecondition):
        stub.GetOperation.future(pb.GetOperationRequest(id="refuse")).result()


def test_internals_stay_inside(stub: rpc.OperationServiceStub, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(errors.Internal) as failed:
        _ask(stub, "stumble")
    assert "password" not in str(failed.value)
    assert "the password" in caplog.text


def test_what_is_not_served_is_unimplemented(stub: rpc.OperationServiceStub) -> None:
    with pytest.raises(errors.Unimplemented):
        stub.ListOperations(pb.ListOperationsRequest())


def test_deadlines_are_given_and_handed_on(stub: rpc.OperationServiceStub, servicer: Operations) -> None:
    assert _ask(stub, "tell").operation.step == "60"
    assert _ask(stub, "tell", timeout=7).operation.step == "7"
    with context.use(context.RequestContext(), 5):
        assert _ask(stub, "tell", timeout=7).operation.step == "5"
    with pytest.raises(errors.DeadlineExceeded):
        _ask(stub, "hang", timeout=0.05)


def test_a_stream_raises_typed_errors_where_it_breaks(serve: Callable[..., Server]) -> None:
    with channel.connect(config.load(), serve().address) as connection:
        stream = host_pb2_grpc.HostServiceStub(connection).WatchHosts(
            host_pb2.WatchHostsRequest(resume_revision=3)
        )
        assert [next(stream).revision for _ in range(3)] == [1, 2, 3]
        with pytest.raises(errors.Aborted) as broken:
            next(stream)
        assert (broken.value.reason, broken.value.facts) == ("ENOUGH", {"at": "3"})


def test_nobody_there(serve: Callable[..., Server]) -> None:
    server = serve()
    address = server.address
    with channel.connect(config.load(), address, wait_seconds=0) as connection:
        stub = rpc.OperationServiceStub(connection)
        _ask(stub, "tell")
        server.stop(0)
        with pytest.raises(errors.Unavailable) as away:
            _ask(stub, "tell")
        assert away.value.transient
        assert away.value.reason == "SERVICE_UNREACHABLE"
        assert away.value.facts["target"] == address


def test_a_call_waits_for_a_service_that_restarts(serve: Callable[..., Server]) -> None:
    server = serve()
    with channel.connect(config.load(), server.address, wait_seconds=PATIENCE) as connection:
        stub = rpc.OperationServiceStub(connection)
        _ask(stub, "tell")
        server.stop(0)
        threading.Timer(0.2, serve, args=(server.port,)).start()
        _ask(stub, "tell")


def test_several_addresses_are_used_in_turn_and_around_one_that_is_away(
    serve: Callable[..., Server], servicer: Operations
) -> None:
    first, second = serve(), serve()
    target = f"{first.address}, {second.address}"
    with channel.connect(config.load(), target) as connection:
        stub = rpc.OperationServiceStub(connection)
        for _ in range(4):
            _ask(stub, "tell")
        first.stop(0)
        for _ in range(4):
            _ask(stub, "tell")
    assert len(servicer.seen) == 8


def test_streams_do_not_take_the_threads_of_calls(serve: Callable[..., Server]) -> None:
    server = serve(grpc__threads=1)
    with channel.connect(server.conf, server.address) as connection:
        streams = [
            host_pb2_grpc.HostServiceStub(connection).WatchHosts(
                host_pb2.WatchHostsRequest(resume_revision=1_000_000)
            )
            for _ in range(3)
        ]
        assert all(next(stream).revision == 1 for stream in streams)
        _ask(rpc.OperationServiceStub(connection), "tell", timeout=PATIENCE)
        for stream in streams:
            stream.cancel()


def test_health_and_reflection(serve: Callable[..., Server]) -> None:
    server = serve()
    with grpc.insecure_channel(server.address) as plain:
        health = health_pb2_grpc.HealthStub(plain)
        for service in ("", "protonova.common.v1.OperationService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        reflection = reflection_pb2_grpc.ServerReflectionStub(plain)
        answer = next(iter(reflection.ServerReflectionInfo(iter([asked]))))
        names = {service.name for service in answer.list_services_response.service}
        assert {"protonova.common.v1.OperationService", "protonova.conductor.v1.HostService"} <= names


def test_a_stopping_server_lets_running_calls_end(serve: Callable[..., Server], servicer: Operations) -> None:
    server = serve()
    with channel.connect(server.conf, server.address, wait_seconds=0) as connection:
        stub = rpc.OperationServiceStub(connection)
        running = stub.GetOperation.future(pb.GetOperationRequest(id="hang"))
        for _ in range(1000):
            if servicer.seen:
                break
            threading.Event().wait(0.005)
        ended: list[str] = []
        server.on_stop(lambda: ended.append("last"))
        server.on_stop(lambda: ended.append("first") or 1 / 0)
        stopping = threading.Thread(target=server.stop, args=(PATIENCE,))
        stopping.start()
        assert server.stopping.wait(PATIENCE)
        servicer.release.set()
        assert running.result(PATIENCE) == pb.GetOperationResponse()
        stopping.join(PATIENCE)
        assert ended == ["first", "last"]


def test_callers_need_not_know_that_a_service_is_restarted(serve: Callable[..., Server]) -> None:
    """An ending process cancels calls that have come to it and that nobody has begun to answer: that is not the
    caller's own cancelling, after which nobody would try again."""
    server = serve()
    port, done = server.port, threading.Event()
    raised: list[BaseException] = []

    def ask(stub: rpc.OperationServiceStub) -> None:
        while not done.is_set():
            try:
                _ask(stub, "tell")
            except Exception as error:  # noqa: BLE001 - none is expected
                raised.append(error)

    with channel.connect(server.conf, server.address, wait_seconds=PATIENCE) as connection:
        callers = [
            threading.Thread(target=ask, args=(rpc.OperationServiceStub(connection),)) for _ in range(16)
        ]
        for caller in callers:
            caller.start()
        for _ in range(8):
            threading.Event().wait(0.05)  # so long they are at it
            server.stop(PATIENCE)
            server = serve(port=port)
        done.set()
        for caller in callers:
            caller.join(PATIENCE)
    assert raised == []


def test_a_stream_that_its_caller_gives_up_is_cancelled(serve: Callable[..., Server]) -> None:
    server = serve()
    with channel.connect(server.conf, server.address) as connection:
        request = host_pb2.WatchHostsRequest(resume_revision=1_000_000)
        stream = host_pb2_grpc.HostServiceStub(connection).WatchHosts(request)
        next(stream)
        stream.cancel()
        with pytest.raises(errors.Cancelled):
            list(stream)


def test_an_address_in_use_is_told(serve: Callable[..., Server]) -> None:
    with pytest.raises(errors.Unavailable) as taken:
        serve(serve().port)
    assert taken.value.reason == "ADDRESS_IN_USE"


def test_every_call_leaves_a_line(stub: rpc.OperationServiceStub, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "protonova.rpc"), pytest.raises(errors.FailedPrecondition):
        _ask(stub, "refuse")
    line = next(record.getMessage() for record in caplog.records if record.name == "protonova.rpc")
    assert line.startswith("/protonova.common.v1.OperationService/GetOperation FAILED_PRECONDITION")


class TestMutualTls:
    """Both sides show a certificate of the same authority."""

    def test_those_who_have_one_are_served(self, serve: Callable[..., Server], tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        server = serve(grpc=authority.issue("conductor"))
        for target in (server.address, f"{server.address},{server.address}"):
            caller = config.load(grpc=authority.issue("api"))
            with channel.connect(caller, target) as connection:
                _ask(rpc.OperationServiceStub(connection), "tell")

    @pytest.mark.parametrize("caller", ["nobody", "stranger", "plain"])
    def test_others_are_not(self, serve: Callable[..., Server], tmp_path: Path, caller: str) -> None:
        authority = Authority(tmp_path)
        server = serve(grpc=authority.issue("conductor"))
        shown = {
            "nobody": {"ca_file": authority.ca_file},
            "stranger": {
                **Authority(tmp_path, "another").issue("stranger"),
                "ca_file": authority.ca_file,
            },
            "plain": {},
        }[caller]
        with (
            channel.connect(config.load(grpc=shown), server.address, wait_seconds=0) as connection,
            pytest.raises(errors.Unavailable),
        ):
            _ask(rpc.OperationServiceStub(connection), "tell")

    def test_a_server_of_another_authority_is_not_trusted(
        self, serve: Callable[..., Server], tmp_path: Path
    ) -> None:
        server = serve(grpc=Authority(tmp_path, "another").issue("conductor"))
        caller = config.load(grpc=Authority(tmp_path).issue("api"))
        with (
            channel.connect(caller, server.address, wait_seconds=0) as connection,
            pytest.raises(errors.Unavailable),
        ):
            _ask(rpc.OperationServiceStub(connection), "tell")
