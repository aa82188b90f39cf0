"""A cloud whose services show each other certificates, and answer nobody who shows none."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from protonova.services.runtime import config
from protonova.services.runtime.channel import client_credentials
from tests.chaos.world import world
from tests.support.certificates import Authority

pytestmark = pytest.mark.timeout(120)


def test_services_answer_each_other_and_nobody_else(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own = authority.issue("service")
    section = "[grpc]\n" + "".join(f"{name} = {value}\n" for name, value in own.items())
    trusted = _credentials(own)
    strangers = {
        "without TLS": None,
        "without a certificate": _credentials({"ca_file": authority.ca_file}),
        "with a certificate of somebody else": _credentials(
            {**Authority(tmp_path, "another").issue("stranger"), "ca_file": authority.ca_file}
        ),
    }
    with world(
        config=section, cells=2, connect=lambda address: grpc.secure_channel(address, trusted)
    ) as cloud:
        servers = [cloud.accepted(port=number == 0) for number in range(4)]
        for server in servers:
            cloud.wait(server, "ACTIVE")
        cloud.settle()

        processes = cloud.cloud.processes()
        assert all(process["healthy"] for process in processes), processes
        services = [process for process in processes if process["protocol"] == "grpc"]
        assert len(services) == 7
        for process in services:
            assert _health(process["address"], trusted) == "OK"
            for who, credentials in strangers.items():
                found = _health(process["address"], credentials)
                assert found in ("UNAVAILABLE", "DEADLINE_EXCEEDED"), (process["name"], who, found)

        # A process that is started again shows its certificate again.
        pid = cloud.cloud.kill("conductor-1")
        cloud.cloud.wait_restarted("conductor-1", pid)
        cloud.delete_all()


def _credentials(options: dict[str, str]) -> grpc.ChannelCredentials:
    return client_credentials(config.load(files=[], grpc=options))


def _health(address: str, credentials: grpc.ChannelCredentials | None) -> str:
    """The status a caller gets."""
    channel = (
        grpc.insecure_channel(address) if credentials is None else grpc.secure_channel(address, credentials)
    )
    with channel:
        try:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"
