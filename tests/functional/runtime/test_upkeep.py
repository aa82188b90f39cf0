"""Periodic work: its beat, what is seen of it, and a pass when told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from protonova.common.v1 import upkeep_pb2 as pb
from protonova.common.v1.upkeep_pb2_grpc import UpkeepServiceStub
from protonova.services.runtime import config, errors
from protonova.services.runtime.channel import connect
from protonova.services.runtime.server import Server
from protonova.services.runtime.upkeep import Upkeep, Work

SECONDS = 20.0


class Counter:
    """Counts passes; the third goes wrong."""

    def __init__(self) -> None:
        self.passes = 0
        self.at_once = 0
        self.most_at_once = 0
        self.fifth = threading.Event()

    def __call__(self) -> int:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.passes += 1
        try:
            if self.passes == 3:
                raise errors.Unavailable("Nobody is there.")
            if self.passes == 5:
                self.fifth.set()
            return self.passes
        finally:
            self.at_once -= 1


@pytest.fixture
def often() -> Counter:
    return Counter()


@pytest.fixture
def told() -> Counter:
    return Counter()


@pytest.fixture
def stub(often: Counter, told: Counter) -> Iterator[UpkeepServiceStub]:
    conf = config.load(files=[])
    server = Server(conf, "some", "127.0.0.1:0")
    Upkeep(Work("often", "Again and again.", 0.01, often), Work("told", "When told.", 0, told)).serve(server)
    server.start()
    channel = connect(conf, server.address)
    yield UpkeepServiceStub(channel)
    channel.close()
    server.stop(0)


def test_it_goes_on_and_is_seen(stub: UpkeepServiceStub, often: Counter, told: Counter):
    assert often.fifth.wait(SECONDS)
    shown = {one.name: one for one in stub.ListUpkeep(pb.ListUpkeepRequest()).upkeep}
    assert shown["often"].passes >= 4
    assert shown["often"].interval_seconds == 0.01
    assert shown["often"].HasField("last_started_at")
    assert shown["told"] == pb.Upkeep(name="told", description="When told.")
    assert not told.passes


def test_a_pass_when_told_to(stub: UpkeepServiceStub, told: Counter):
    run = pb.RunUpkeepRequest(name="told")
    assert stub.RunUpkeep(run).upkeep.last_count == 1
    assert stub.RunUpkeep(run).upkeep.passes == 2
    with pytest.raises(errors.Unavailable, match="Nobody"):
        stub.RunUpkeep(run)
    (shown,) = (one for one in stub.ListUpkeep(pb.ListUpkeepRequest()).upkeep if one.name == "told")
    assert shown.last_error == "Nobody is there."
    assert stub.RunUpkeep(run).upkeep.last_error == ""
    with pytest.raises(errors.NotFound) as caught:
        stub.RunUpkeep(pb.RunUpkeepRequest(name="none"))
    assert caught.value.reason == "UPKEEP_NOT_FOUND"


def test_one_pass_at_a_time(stub: UpkeepServiceStub, often: Counter):
    run = pb.RunUpkeepRequest(name="often")
    for _ in range(20):
        try:
            stub.RunUpkeep(run)
        except errors.Unavailable:
            continue
    assert often.most_at_once == 1
