"""Aggregates: their rules, their feed, and their mirror in a real placement."""

from __future__ import annotations

import contextlib
import uuid

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from protonova.api.v1 import aggregate_pb2 as pb
from protonova.api.v1 import host_pb2
from protonova.common.v1 import server_pb2
from protonova.placement.v1 import resource_provider_pb2 as providers
from protonova.services.api import tables
from protonova.services.api.aggregates import upkeep
from protonova.services.runtime import context, errors
from tests.functional.api.conftest import ADMIN, Region, in_parallel
from tests.support.placement import Placement

FOREIGN = str(uuid.uuid4())


class Mirrored:
    """A region whose placement is real, with what tests do to aggregates in short."""

    def __init__(self, path, url: str) -> None:
        self.placement = Placement(f"sqlite:///{path}/placement.sqlite")
        self.region = Region(
            path,
            url,
            placement__target=self.placement.address,
            api__aggregate_mend_seconds=0.1,
            api__aggregate_compare_seconds=0.2,
        )

    @property
    def stub(self):
        return self.region.api.aggregates

    def provider(self, host: str, *aggregates: str) -> str:
        """With the id its host's node has in the cell."""
        node_id = node(host)
        self.placement.providers.CreateResourceProvider(
            providers.CreateResourceProviderRequest(id=node_id, name=host)
        )
        while aggregates:
            # It may be seen, and put into others, from its creation on: what is there by then is kept.
            wanted = providers.GetProviderAggregatesRequest(id=node_id)
            found = self.placement.providers.GetProviderAggregates(wanted)
            with contextlib.suppress(errors.Aborted):
                self.placement.providers.ReplaceProviderAggregates(
                    providers.ReplaceProviderAggregatesRequest(
                        id=node_id,
                        generation=found.generation,
                        aggregates=sorted({*found.aggregates, *aggregates}),
                    )
                )
                break
        return node_id

    def of(self, host: str) -> set[str]:
        """The aggregates of a host in placement."""
        wanted = providers.GetProviderAggregatesRequest(id=node(host))
        return set(self.placement.providers.GetProviderAggregates(wanted).aggregates)

    def becomes(self, host: str, *aggregates: str) -> None:
        self.region.until(
            lambda: self.of(host) == set(aggregates),
            tell=lambda: (
                self.of(host),
                [(one.subject, one.state, one.step, one.error) for one in self.region.api.engine.list()],
                self.region.rows(sa.select(tables.aggregate_hosts)),
            ),
        )

    def create(self, name: str, zone: str = "", hosts: tuple[str, ...] = ()) -> pb.Aggregate:
        request = pb.CreateAggregateRequest(name=name, availability_zone=zone)
        aggregate = self.stub.CreateAggregate(request).aggregate
        for host in hosts:
            aggregate = self.add(aggregate, host)
        return aggregate

    def add(self, aggregate: pb.Aggregate, host: str) -> pb.Aggregate:
        return self.stub.AddAggregateHost(pb.AddAggregateHostRequest(id=aggregate.id, host=host)).aggregate

    def remove(self, aggregate: pb.Aggregate, host: str) -> pb.Aggregate:
        request = pb.RemoveAggregateHostRequest(id=aggregate.id, host=host)
        return self.stub.RemoveAggregateHost(request).aggregate

    def update(self, aggregate: pb.Aggregate, **fields) -> pb.Aggregate:
        return self.stub.UpdateAggregate(pb.UpdateAggregateRequest(id=aggregate.id, **fields)).aggregate

    def put_server(self, cell, host: str) -> None:
        cell.put(server_pb2.Server(id=str(uuid.uuid4()), host=host, project_id="project"))

    def close(self) -> None:
        self.region.stop()
        self.placement.close()


def test_the_schema_is_what_the_code_expects(any_region):
    engine = sa.create_engine(any_region.url)
    with engine.connect() as connection:
        compared = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = [
            item
            for item in compare_metadata(compared, tables.metadata)
            if not (item[0] == "remove_table" and item[1].name == "alembic_version")
        ]
    engine.dispose()
    assert differences == []


def node(host: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, host))


@pytest.fixture
def mirrored(tmp_path):
    with context.use(ADMIN):
        region = Mirrored(tmp_path, f"sqlite:///{tmp_path}/api.sqlite")
        yield region
        region.close()


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ]
)
def any_mirrored(request, tmp_path):
    kind = request.param
    url = f"sqlite:///{tmp_path}/api.sqlite" if kind == "sqlite" else request.getfixturevalue(f"{kind}_url")
    with context.use(ADMIN):
        region = Mirrored(tmp_path, url)
        yield region
        region.close()


def refused(call, *args, **kwargs) -> str:
    with pytest.raises(errors.Error) as raised:
        call(*args, **kwargs)
    return raised.value.reason


def test_an_aggregate_from_its_making_to_its_end(any_mirrored):
    m = any_mirrored
    m.region.add_cell("one", hosts=2)
    made = m.create("east", "east-1")
    assert (made.name, dict(made.metadata), list(made.hosts)) == ("east", {"availability_zone": "east-1"}, [])
    assert made.HasField("created_at")
    assert not made.HasField("updated_at")
    assert refused(m.create, "east") == "AGGREGATE_EXISTS"
    other = m.create("fast")
    assert other.number > made.number
    listed = m.stub.ListAggregates(pb.ListAggregatesRequest()).aggregates
    assert [one.name for one in listed] == ["east", "fast"]
    changed = m.update(made, name="far east", set_metadata={"ssd": "true", "gpu": "no"})
    assert dict(changed.metadata) == {"availability_zone": "east-1", "ssd": "true", "gpu": "no"}
    assert changed.HasField("updated_at")
    changed = m.update(made, set_metadata={"ssd": "false"}, unset_metadata=["gpu", "never there"])
    assert (changed.name, dict(changed.metadata)) == (
        "far east",
        {"availability_zone": "east-1", "ssd": "false"},
    )
    assert refused(m.update, made, name="fast") == "AGGREGATE_EXISTS"
    changed = m.add(made, "one-host1")
    assert list(m.add(made, "one-host0").hosts) == ["one-host0", "one-host1"]
    assert refused(m.add, made, "one-host0") == "AGGREGATE_HOST_EXISTS"
    assert refused(m.add, made, "nowhere") == "HOST_NOT_FOUND"
    by_number = m.stub.GetAggregate(pb.GetAggregateRequest(number=made.number)).aggregate
    assert (by_number.id, list(by_number.hosts)) == (made.id, ["one-host0", "one-host1"])
    gone = pb.DeleteAggregateRequest(number=made.number)
    assert refused(m.stub.DeleteAggregate, gone) == "AGGREGATE_NOT_EMPTY"
    m.remove(made, "one-host0")
    assert refused(m.remove, made, "one-host0") == "AGGREGATE_HOST_NOT_FOUND"
    m.remove(made, "one-host1")
    m.stub.DeleteAggregate(gone)
    for call, request in (
        (m.stub.DeleteAggregate, gone),
        (m.stub.GetAggregate, pb.GetAggregateRequest(id=made.id)),
        (m.stub.UpdateAggregate, pb.UpdateAggregateRequest(id=made.id, name="x")),
        (m.stub.AddAggregateHost, pb.AddAggregateHostRequest(id=made.id, host="one-host0")),
        (m.stub.RemoveAggregateHost, pb.RemoveAggregateHostRequest(number=made.number, host="x")),
        (m.stub.CacheAggregateImages, pb.CacheAggregateImagesRequest(id=made.id, image_ids=["x"])),
    ):
        assert refused(call, request) == "AGGREGATE_NOT_FOUND"
    # Its number is not given to another.
    assert m.create("east").number > other.number


WRONG = [
    ("name", {"name": ""}),
    ("name", {"name": " "}),
    ("name", {"name": "n" * 256}),
    ("availability_zone", {"set_metadata": {"availability_zone": "a:b"}}),
    ("availability_zone", {"set_metadata": {"availability_zone": ""}}),
    ("metadata.", {"set_metadata": {"": "x"}}),
    ("metadata.key", {"set_metadata": {"key": "x" * 256}}),
]


def test_what_is_wrong_is_named_and_changes_nothing(mirrored):
    made = mirrored.create("one")
    for field, fields in WRONG:
        with pytest.raises(errors.InvalidArgument) as raised:
            mirrored.update(made, **fields)
        assert (raised.value.reason, raised.value.facts["field"]) == ("AGGREGATE_INVALID", field)
    assert mirrored.stub.GetAggregate(pb.GetAggregateRequest(id=made.id)).aggregate == made
    with pytest.raises(errors.InvalidArgument):
        mirrored.create("two", "a:b")


def test_a_host_is_in_one_zone(mirrored):
    m = mirrored
    m.region.add_cell("one", hosts=2)
    east = m.create("east", "east", ("one-host0",))
    west = m.create("west", "west")
    assert refused(m.add, west, "one-host0") == "AGGREGATE_ZONE_CONFLICT"
    m.create("east as well", "east", ("one-host0",))
    plain = m.create("plain", hosts=("one-host0", "one-host1"))
    conflict = {"set_metadata": {"availability_zone": "west"}}
    assert refused(m.update, plain, **conflict) == "AGGREGATE_ZONE_CONFLICT"
    assert refused(m.update, east, **conflict) == "AGGREGATE_ZONE_CONFLICT"
    m.remove(plain, "one-host0")
    m.update(plain, **conflict)
    assert refused(m.add, east, "one-host1") == "AGGREGATE_ZONE_CONFLICT"


def test_of_two_zones_that_want_a_host_at_once_one_gets_it(any_mirrored):
    m = any_mirrored
    m.region.add_cell("one")
    zones = [m.create(f"zone{number}", f"zone{number}") for number in range(6)]

    def add(number: int) -> pb.Aggregate:
        with context.use(ADMIN):
            return m.add(zones[number], "one-host0")

    results = in_parallel(6, add)
    won = [result for result in results if isinstance(result, pb.Aggregate)]
    assert len(won) == 1
    lost = {result.reason for result in results if isinstance(result, errors.Error)}
    assert lost == {"AGGREGATE_ZONE_CONFLICT"}


def test_servers_keep_their_host_in_its_zone(mirrored):
    m = mirrored
    cell = m.region.add_cell("one", hosts=2)
    east, plain = m.create("east", "east", ("one-host0",)), m.create("plain")
    m.put_server(cell, "one-host0")
    m.put_server(cell, "one-host1")
    conflict = "AGGREGATE_ZONE_CONFLICT"
    assert refused(m.remove, east, "one-host0") == conflict
    assert refused(m.update, east, unset_metadata=["availability_zone"]) == conflict
    assert refused(m.update, east, set_metadata={"availability_zone": "west"}) == conflict
    assert refused(m.add, east, "one-host1") == conflict
    # What leaves the zone as it is may be done: the agents' own zone is "nova".
    m.update(east, name="orient", set_metadata={"ssd": "true", "availability_zone": "east"})
    m.add(plain, "one-host0")
    m.add(plain, "one-host1")
    m.remove(plain, "one-host0")
    m.update(plain, set_metadata={"availability_zone": "nova"})
    second = m.create("east as well", "east", ("one-host0",))
    m.remove(east, "one-host0")
    assert refused(m.remove, second, "one-host0") == conflict
    cell.servers.clear()
    m.remove(second, "one-host0")


def test_a_zone_does_not_change_while_nobody_knows_of_servers(mirrored):
    m = mirrored
    cell = m.region.add_cell("silent")
    east, plain = m.create("east", "east", ("silent-host0",)), m.create("plain")
    cell.stop()
    assert refused(m.remove, east, "silent-host0") == "CELL_UNAVAILABLE"
    m.add(plain, "silent-host0")
    m.remove(plain, "silent-host0")


def test_zones_of_hosts(mirrored):
    m = mirrored
    m.region.add_cell("one", hosts=2)
    m.create("east", "east", ("one-host0",))
    m.create("empty", "empty")
    hosts = m.region.api.hosts
    services = hosts.ListComputeServices(host_pb2.ListComputeServicesRequest()).services
    expected = {"one-host0": "east", "one-host1": "nova"}
    assert {service.host: service.availability_zone for service in services} == expected
    nodes = hosts.ListHypervisors(host_pb2.ListHypervisorsRequest(page_size=-1)).hypervisors
    assert {node.hostname: node.service.availability_zone for node in nodes} == expected
    zones = hosts.ListAvailabilityZones(host_pb2.ListAvailabilityZonesRequest(with_services=True)).zones
    assert [(zone.name, [one.host for one in zone.services]) for zone in zones] == [
        ("east", ["one-host0"]),
        ("nova", ["one-host1"]),
    ]
    changed = hosts.UpdateComputeService(
        host_pb2.UpdateComputeServiceRequest(host="one-host0", binary="nova-compute", disabled=True)
    )
    assert changed.service.availability_zone == "east"


def test_requests_without_a_zone_get_the_operators(tmp_path):
    """They are pinned to it, and it may be one of aggregates."""
    region = Region(tmp_path, f"sqlite:///{tmp_path}/api.sqlite", default_schedule_zone="east")
    try:
        region.images.add()
        with context.use(ADMIN):
            region.add_flavor()
            region.add_cell("one")
            with pytest.raises(errors.InvalidArgument) as raised:
                region.create()
            assert raised.value.reason == "ZONE_NOT_FOUND"
            request = pb.CreateAggregateRequest(name="e", availability_zone="east")
            made = region.api.aggregates.CreateAggregate(request).aggregate
            region.api.aggregates.AddAggregateHost(pb.AddAggregateHostRequest(id=made.id, host="one-host0"))
            server = region.create().servers[0]
        assert (server.availability_zone, server.pinned_availability_zone) == ("east", "east")
    finally:
        region.stop()


def test_the_mirror_follows_and_leaves_others_alone(any_mirrored):
    m = any_mirrored
    m.region.add_cell("one", hosts=2)
    m.provider("one-host0", FOREIGN)
    m.provider("one-host1")
    one, two = m.create("one", "z"), m.create("two")
    m.add(one, "one-host0")
    m.becomes("one-host0", FOREIGN, one.id)
    m.add(two, "one-host0")
    m.add(one, "one-host1")
    m.becomes("one-host0", FOREIGN, one.id, two.id)
    m.becomes("one-host1", one.id)
    m.remove(one, "one-host0")
    m.remove(one, "one-host1")
    m.stub.DeleteAggregate(pb.DeleteAggregateRequest(id=one.id))
    m.becomes("one-host0", FOREIGN, two.id)
    m.becomes("one-host1")


def test_conflicting_writers_of_a_provider_do_not_stop_the_mirror(mirrored):
    m = mirrored
    m.region.add_cell("one")
    m.provider("one-host0")
    made = [m.create(f"a{number}") for number in range(8)]

    def work(number: int) -> None:
        with context.use(ADMIN):
            m.add(made[number], "one-host0")
            m.placement.set_inventories(node("one-host0"), {"VCPU": number + 1})

    assert in_parallel(8, work) == [None] * 8
    m.becomes("one-host0", *(one.id for one in made))


def test_a_provider_that_comes_later_gets_its_aggregates(any_mirrored):
    m = any_mirrored
    cell = m.region.add_cell("one")
    made = m.create("one", "z", ("one-host0",))
    [operation] = m.region.operations(made.id)
    assert m.region.api.engine.wait(operation.id, 20).state == "done"
    m.provider("one-host0", FOREIGN)
    m.becomes("one-host0", FOREIGN, made.id)
    # One that somebody makes anew, and one whose aggregates somebody replaces.
    m.placement.providers.DeleteResourceProvider(
        providers.DeleteResourceProviderRequest(id=node("one-host0"))
    )
    m.provider("one-host0")
    m.becomes("one-host0", made.id)
    m.placement.providers.ReplaceProviderAggregates(
        providers.ReplaceProviderAggregatesRequest(id=node("one-host0"), aggregates=[FOREIGN])
    )
    m.becomes("one-host0", FOREIGN, made.id)
    # A host whose cell was silent when it came in.
    cell.add_host("one-late")
    m.region.api.hosts.ListComputeServices(host_pb2.ListComputeServicesRequest())
    m.provider("one-late")
    cell.stop()
    plain = m.create("plain", hosts=("one-late",))
    cell.start()
    m.becomes("one-late", plain.id)


def test_a_host_that_is_removed_leaves_its_aggregates(any_mirrored):
    m = any_mirrored
    m.region.add_cell("one")
    m.provider("one-host0", FOREIGN)
    made = m.create("one", "z", ("one-host0",))
    m.becomes("one-host0", FOREIGN, made.id)
    hosts = m.region.api.hosts
    [service] = hosts.ListComputeServices(host_pb2.ListComputeServicesRequest()).services
    hosts.DeleteComputeService(host_pb2.DeleteComputeServiceRequest(id=service.id))
    assert not m.stub.GetAggregate(pb.GetAggregateRequest(id=made.id)).aggregate.hosts
    m.becomes("one-host0", FOREIGN)


def test_hosts_that_never_come_do_not_hide_others(mirrored, monkeypatch):
    """Looks in batches of two, over more hosts without a provider than that."""
    monkeypatch.setattr(upkeep, "_UNMIRRORED", upkeep._UNMIRRORED.limit(2))
    monkeypatch.setattr(upkeep, "_BATCH", 2)
    m = mirrored
    m.region.add_cell("one", hosts=6)
    made = m.create("one", hosts=tuple(f"one-host{number}" for number in range(6)))
    m.provider("one-host5")
    m.becomes("one-host5", made.id)


def test_watchers_are_told(mirrored):
    m = mirrored
    m.region.add_cell("one")
    first = m.create("first")
    watching = m.stub.WatchAggregates(pb.WatchAggregatesRequest())
    told = next(watching)
    assert (told.aggregate, told.revision) == (first, 0)
    end = next(watching)
    assert end.snapshot_end
    with_host = m.add(first, "one-host0")
    told = next(watching)
    assert told.aggregate == with_host
    m.remove(first, "one-host0")
    m.stub.DeleteAggregate(pb.DeleteAggregateRequest(id=first.id))
    while not told.deleted_aggregate_id:
        told = next(watching)
    assert told.deleted_aggregate_id == first.id
    watching.cancel()
    resumed = m.stub.WatchAggregates(pb.WatchAggregatesRequest(resume_revision=end.revision))
    assert next(resumed).deleted_aggregate_id == first.id
    resumed.cancel()


def test_images_are_told_to_the_cells_of_the_hosts(mirrored):
    m = mirrored
    one, two = m.region.add_cell("one", hosts=2), m.region.add_cell("two")
    m.region.add_cell("three")
    made = m.create("one")
    image = m.region.images.add()
    image_id = next(iter(m.region.images.images)) if image is None else getattr(image, "id", image)
    request = pb.CacheAggregateImagesRequest(id=made.id, image_ids=[image_id])
    assert refused(m.stub.CacheAggregateImages, request) == "AGGREGATE_EMPTY"
    for host in ("one-host0", "one-host1", "two-host0"):
        m.add(made, host)
    unknown = pb.CacheAggregateImagesRequest(id=made.id, image_ids=[image_id, str(uuid.uuid4())])
    assert refused(m.stub.CacheAggregateImages, unknown) == "IMAGE_NOT_FOUND"
    nothing = pb.CacheAggregateImagesRequest(id=made.id)
    assert refused(m.stub.CacheAggregateImages, nothing) == "AGGREGATE_INVALID"
    m.stub.CacheAggregateImages(request)
    m.region.until(lambda: one.prefetches and two.prefetches)
    [told] = one.prefetches.values()
    assert list(told.hosts) == ["one-host0", "one-host1"]
    assert [image.id for image in told.images] == [image_id]
    assert list(two.prefetches) == list(one.prefetches)
