"""Images that are fetched to hosts ahead of their first use."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from protonova.common.v1.server_pb2 import ImageSnapshot
from protonova.conductor.v1 import host_pb2 as pb
from protonova.services.runtime import errors
from tests.support.agents import Gate
from tests.support.conductor import SECONDS, Conductor, Edges


def prefetch(cell: Conductor, *hosts: str, images: tuple[str, ...] = ("one",), id: str = "") -> str:
    request = pb.PrefetchImagesRequest(id=id or str(uuid.uuid4()), hosts=hosts)
    request.images.extend(ImageSnapshot(id=image, disk_format="raw") for image in images)
    cell.hosts.PrefetchImages(request)
    return request.id


def test_every_host_gets_every_image_once(cell: Conductor):
    done = prefetch(cell, "host1", "host2", "nowhere", images=("one", "two"))
    assert cell.engine.wait(done, SECONDS).state == "done"
    fetched = cell.edges.images.fetched
    assert sorted(fetched) == [("host1", "one"), ("host1", "two"), ("host2", "one"), ("host2", "two")]
    # One host at a time, unless the operator wants more.
    assert cell.edges.images.most_at_once == 1
    prefetch(cell, "host3", id=done)
    assert sorted(cell.edges.images.fetched) == sorted(fetched)


def test_a_host_that_cannot_does_not_hold_up_the_others(cell: Conductor):
    cell.edges.images.refuses.add("host1")
    assert cell.engine.wait(prefetch(cell, "host1", "host2"), SECONDS).state == "done"
    assert cell.edges.images.fetched == [("host2", "one")]


def test_several_hosts_at_once(tmp_path: Path, edges: Edges):
    cell = Conductor(tmp_path, edges, image_cache__precache_concurrency=3)
    cell.report("host1", "host2", "host3")
    edges.images.gate = gate = Gate()
    operation = prefetch(cell, "host1", "host2", "host3")
    assert gate.reached.wait(SECONDS)
    gate.open.set()
    assert cell.engine.wait(operation, SECONDS).state == "done"
    assert len(edges.images.fetched) == 3
    cell.close()


def test_another_replica_goes_on(tmp_path: Path, edges: Edges, cell: Conductor):
    edges.images.gate = gate = Gate()
    operation = prefetch(cell, "host1", "host2")
    assert gate.reached.wait(SECONDS)
    cell.engine.stop(0)
    other = Conductor(tmp_path, edges, operations__poll_seconds=0.05)
    gate.open.set()
    assert other.engine.wait(operation, SECONDS).state == "done"
    assert sorted(edges.images.fetched) == [("host1", "one"), ("host2", "one")]
    other.close()


@pytest.mark.parametrize("field", ["id", "hosts", "images"])
def test_what_is_missing_is_named(cell: Conductor, field: str):
    request = pb.PrefetchImagesRequest(id="x", hosts=["host1"], images=[ImageSnapshot(id="one")])
    request.ClearField(field)
    with pytest.raises(errors.InvalidArgument) as refused:
        cell.hosts.PrefetchImages(request)
    assert (refused.value.reason, refused.value.facts["field"]) == ("PREFETCH_INVALID", field)
