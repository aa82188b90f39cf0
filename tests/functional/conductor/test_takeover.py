"""Conductors that die, hang or leave in the middle of an operation, and those that go on in their place."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from protonova.common.v1.server_pb2 import NetworkRequest
from protonova.conductor.v1 import host_pb2, host_pb2_grpc, server_pb2, server_pb2_grpc
from protonova.services.runtime import config, errors
from protonova.services.runtime.channel import connect
from tests.functional.conductor.test_create import is_active, is_error
from tests.functional.conductor.test_delete import assert_nothing_left, delete, full_build
from tests.functional.conductor.test_power import STOPPED, idle, stop
from tests.support.conductor import LOOPBACK, Conductor, Edges, new_build, node_id, unblocked

SOON = {"operations__lease_seconds": 0.5, "operations__poll_seconds": 0.05}


@pytest.fixture
def replica(tmp_path: Path, edges: Edges):
    """Makes replicas on one database."""
    with contextlib.ExitStack() as stack:

        def make(**overrides) -> Conductor:
            conductor = Conductor(tmp_path, edges, **{**SOON, **overrides})
            stack.callback(conductor.close)
            conductor.report("host1", "host2")
            return conductor

        yield make


class Dying:
    """A conductor in a process of its own."""

    def __init__(self, directory: Path, edges: Edges) -> None:
        reader, writer = os.pipe()
        options = {
            "DEFAULT": {"state_path": directory, "graceful_shutdown_timeout": 0.2},
            "database": {"connection": f"sqlite:///{directory}/cell.sqlite"},
            "conductor": {"listen": LOOPBACK},
            "placement": {"target": edges.targets["placement"]},
            "api": {"target": edges.targets["api"]},
            "scheduler": {"target": edges.targets["scheduler"]},
            "operations": {"lease_seconds": 0.5, "poll_seconds": 0.05},
        }
        file = directory / "conductor.conf"
        file.write_text(
            "\n".join(
                f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in values.items())
                for group, values in options.items()
            )
        )
        code = "import sys; from protonova.services.conductor.main import main; sys.exit(main(sys.argv[1:]))"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "--config-file", str(file)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PROTONOVA_READY_FD": str(writer)},
            pass_fds=(writer,),
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(writer)
        with os.fdopen(reader) as pipe:
            told = pipe.readline()
        if not told:
            raise AssertionError(self.process.communicate()[1])
        conf = config.load(files=[], state_path=str(directory))
        self.channel = connect(conf, json.loads(told)["address"])
        self.servers = server_pb2_grpc.ServerServiceStub(self.channel)
        self.hosts = host_pb2_grpc.HostServiceStub(self.channel)

    def end(self, number: int) -> None:
        if self.process.returncode is None:
            self.process.send_signal(number)
            self.process.communicate()
            self.channel.close()


@pytest.fixture
def dying(tmp_path: Path, edges: Edges) -> Iterator[Dying]:
    conductor = Dying(tmp_path, edges)
    report = host_pb2.HostReport(
        host="host1", node="host1", node_id=node_id("host1"), agent_target=edges.targets["agent"]
    )
    conductor.hosts.ReportHosts(host_pb2.ReportHostsRequest(hosts=[report]))
    yield conductor
    conductor.end(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_build_outlives_its_process(dying: Dying, replica, edges: Edges, number: int):
    gate = edges.guests.gate("SpawnGuest")
    build = new_build("host1")
    dying.servers.CreateServers(server_pb2.CreateServersRequest(builds=[build]))
    unblocked(gate.reached)
    dying.end(number)
    gate.open.set()
    survivor = replica()
    server = survivor.wait(build.server.id, is_active)
    assert edges.guests.where(server.id) == ["host1"]
    generations = [fence.generation for fence in edges.guests.fences]
    assert generations == sorted(generations)
    assert len(set(generations)) == 2
    assert len({(fence.operation_id, fence.step) for fence in edges.guests.fences}) == 1


def test_a_delete_outlives_its_process(dying: Dying, replica, edges: Edges):
    build = new_build("host1")
    dying.servers.CreateServers(server_pb2.CreateServersRequest(builds=[build]))
    other = replica()
    server = other.wait(build.server.id, is_active)
    gate = edges.guests.gate("DestroyGuest")
    dying.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server.id))
    unblocked(gate.reached)
    dying.end(signal.SIGKILL)
    gate.open.set()
    other.wait_gone(server.id)
    assert_nothing_left(edges, server.id)


def lose(conductor: Conductor) -> None:
    """As if its machine stood still for long: it renews no lease, and its effects come late."""
    conductor.engine._keeper.stop()


def test_ports_made_by_a_dead_conductor_are_taken_up(replica, edges: Edges):
    """The first replica makes a port and is never heard of again."""
    first = replica()
    network = edges.networks.add_network("private")

    def die() -> None:
        edges.networks.after.clear()
        lose(first)
        for run in first.engine.held():
            first.engine.lose(run)

    edges.networks.after["create_port"] = die
    build = new_build("host1", networks=[NetworkRequest(network_id=network.id)])
    first.create(build)
    server = replica().wait(build.server.id, is_active)
    assert [port.id for port in edges.networks.ports.values()] == [server.interfaces[0].port_id]


def test_a_conductor_that_wakes_up_is_fenced_off(replica, edges: Edges):
    """Its call reaches the agent after that of the replica which took over: nothing comes of it."""
    first = replica()
    build = new_build("host1")
    gate = edges.guests.gate("SpawnGuest")
    first.create(build)
    unblocked(gate.reached)
    lose(first)
    second = replica()
    gate.open.set()
    server = second.wait(build.server.id, is_active)
    assert edges.guests.where(server.id) == ["host1"]
    stop(second, server.id)
    second.wait(server.id, lambda s: s.vm_state == STOPPED)


@pytest.mark.parametrize("edge", ["spawn", "ports"])
def test_undoing_outlives_its_conductor(replica, edges: Edges, edge: str):
    first = replica()
    refusal = errors.FailedPrecondition("No room.", reason="HOST_REFUSES")
    network = edges.networks.add_network("private")
    edges.guests.fail("SpawnGuest", refusal)
    gate = edges.guests.gate("DestroyGuest")
    if edge == "ports":
        edges.networks.errors["delete_port"] = [errors.Unavailable("Away.")] * 2
    build = new_build("host1", networks=[NetworkRequest(network_id=network.id)])
    first.create(build)
    unblocked(gate.reached)
    first.close()
    gate.open.set()
    server = replica().wait(build.server.id, is_error)
    assert_nothing_left_of_the_build(edges, server.id)


def assert_nothing_left_of_the_build(edges: Edges, server_id: str) -> None:
    assert edges.guests.where(server_id) == []
    assert edges.allocations.providers(server_id) == []
    assert edges.networks.ports == {}


def test_a_delete_at_another_replica_preempts_a_build(replica, edges: Edges):
    first, second = replica(), replica()
    gate = edges.guests.gate("SpawnGuest")
    build, port_id, volume_id = full_build(edges, "host1")
    first.create(build)
    unblocked(gate.reached)
    delete(second, build.server.id)
    second.wait_gone(build.server.id)
    assert_nothing_left(edges, build.server.id)
    assert list(edges.networks.ports) == [port_id]
    assert list(edges.volumes.volumes) == [volume_id]


def test_actions_at_two_replicas_run_one_after_the_other(replica, edges: Edges):
    first, second = replica(), replica()
    server = first.boot()
    gate = edges.guests.gate("RebootGuest")
    first.servers.RebootServer(server_pb2.RebootServerRequest(id=server.id))
    unblocked(gate.reached)
    second.servers.RebootServer(server_pb2.RebootServerRequest(id=server.id, hard=True))
    gate.open.set()
    second.wait(server.id, idle)
    assert [call[0] for call in edges.guests.calls].count("RebootGuest") == 2
