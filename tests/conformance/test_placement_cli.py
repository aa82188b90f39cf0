"""Every command of the Placement plugin of the stock command line, at its oldest and its newest version."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from benchmarks.cloud import Cloud
from tests.support.osc import Typed, typed

NEWEST = "1.39"
AGGREGATES = "3f0e9b2c-0000-4000-8000-000000000001", "3f0e9b2c-0000-4000-8000-000000000002"


@pytest.fixture(scope="module")
def shell(cloud: Cloud) -> Iterator[Typed]:
    with typed(cloud.state / "clouds.yaml", "protonova-admin") as made:
        yield made


class Commands:
    """Commands at one version; those that show rows answer with them."""

    def __init__(self, shell: Typed, version: str) -> None:
        self._shell, self._version = shell, version

    def show(self, command: str, words: str = "", code: int = 0):
        return self._shell(f"{command} -f json {words}", self._version, code)

    def do(self, command: str, words: str = "", code: int = 0):
        return self._shell(f"{command} {words}", self._version, code)


@pytest.fixture
def old(shell: Typed, request: pytest.FixtureRequest) -> Commands:
    return Commands(shell, request.param)


def both(first: str) -> pytest.MarkDecorator:
    """At the version a command came with, and at the newest."""
    return pytest.mark.parametrize(
        ("version", "old"), [(each, each) for each in (first, NEWEST)], indirect=["old"]
    )


@pytest.fixture
def new(shell: Typed) -> Commands:
    return Commands(shell, NEWEST)


@pytest.fixture
def host(new: Commands) -> Iterator[str]:
    """A provider with some of everything."""
    made = new.show("resource provider create", f"host-{uuid.uuid4().hex[:8]}")["uuid"]
    new.show("resource provider inventory set", f"{made} --resource VCPU=8 --resource DISK_GB=100")
    yield made
    new.do("resource provider delete", made)


@both("1.0")
def test_providers(old: Commands, version: str) -> None:
    name = f"rack-{uuid.uuid4().hex[:8]}"
    own = str(uuid.uuid4())
    made = old.show("resource provider create", f"--uuid {own} {name}")
    assert (made["uuid"], made["name"], made["generation"]) == (own, name, 0)
    assert ("root_provider_uuid" in made) == (version == NEWEST)
    assert old.show("resource provider list", f"--name {name}") == [made]
    assert old.show("resource provider list", f"--uuid {own}") == [made]
    assert own in {each["uuid"] for each in old.show("resource provider list")}
    renamed = old.show("resource provider set", f"{own} --name {name}-2")
    assert renamed["name"] == f"{name}-2"
    assert old.show("resource provider show", own) == renamed
    assert old.show("resource provider show", f"{own} --allocations") == {**renamed, "allocations": {}}
    assert old.do("resource provider delete", own) is None
    assert own in old.show("resource provider show", own, code=1)
    assert own in old.do("resource provider delete", own, code=1)


def test_trees(new: Commands, host: str) -> None:
    name = f"numa-{uuid.uuid4().hex[:8]}"
    child = new.show("resource provider create", f"--parent-provider {host} {name}")
    assert (child["parent_provider_uuid"], child["root_provider_uuid"]) == (host, host)
    assert {each["uuid"] for each in new.show("resource provider list", f"--in-tree {child['uuid']}")} == {
        host,
        child["uuid"],
    }
    assert "children" in new.do("resource provider delete", host, code=1)
    loop = new.show("resource provider set", f"{host} --name loop --parent-provider {child['uuid']}", code=1)
    assert "below itself" in loop
    new.do("resource provider delete", child["uuid"])


@both("1.0")
def test_inventories(old: Commands, version: str, host: str) -> None:
    kept = old.show(
        "resource provider inventory set",
        f"{host} --resource VCPU=16 --resource VCPU:allocation_ratio=2.0 --resource MEMORY_MB:total=1024 "
        "--resource MEMORY_MB:step_size=128 --resource MEMORY_MB:reserved=128",
    )
    by_class = {each["resource_class"]: each for each in kept}
    assert set(by_class) == {"VCPU", "MEMORY_MB"}
    assert (by_class["VCPU"]["total"], by_class["VCPU"]["allocation_ratio"]) == (16, 2.0)
    assert (by_class["MEMORY_MB"]["step_size"], by_class["MEMORY_MB"]["reserved"]) == (128, 128)
    amended = old.show("resource provider inventory set", f"{host} --amend --resource VCPU:max_unit=4")
    assert {each["resource_class"]: each["max_unit"] for each in amended}["VCPU"] == 4
    assert len(amended) == 2
    old.show("resource provider inventory set", f"{host} --amend --dry-run --resource VCPU=99")
    changed = old.show("resource provider inventory class set", f"{host} VCPU --total 12 --max_unit 6")
    assert (changed["total"], changed["max_unit"], changed["allocation_ratio"]) == (12, 6, 1.0)
    shown = old.show("resource provider inventory show", f"{host} VCPU")
    assert shown == {**changed, "used": 0}
    listed = old.show("resource provider inventory list", host)
    assert {each["resource_class"] for each in listed} == {"VCPU", "MEMORY_MB"}
    old.do("resource provider inventory delete", f"{host} --resource-class MEMORY_MB")
    assert "MEMORY_MB" in old.show("resource provider inventory show", f"{host} MEMORY_MB", code=1)
    refused = old.show("resource provider inventory class set", f"{host} DISK_GB --total 0", code=1)
    assert "total" in refused


def test_all_inventories(shell: Typed, new: Commands, host: str) -> None:
    Commands(shell, "1.5").do("resource provider inventory delete", host)
    assert new.show("resource provider inventory list", host) == []


@both("1.3")
def test_inventories_of_an_aggregate(old: Commands, new: Commands, version: str, host: str) -> None:
    generation = new.show("resource provider show", host)["generation"]
    own = str(uuid.uuid4())
    new.show("resource provider aggregate set", f"{host} --aggregate {own} --generation {generation}")
    kept = old.show("resource provider inventory set", f"{own} --aggregate --resource VCPU=3")
    assert [(each["resource_provider"], each["total"]) for each in kept] == [(host, 3)]


@pytest.mark.parametrize(
    ("version", "old"), [("1.1", "1.1"), ("1.19", "1.19"), (NEWEST, NEWEST)], indirect=["old"]
)
def test_aggregates(old: Commands, new: Commands, version: str, host: str) -> None:
    words = f"{host} --aggregate {AGGREGATES[0]} --aggregate {AGGREGATES[1]}"
    if version != "1.1":
        stale = old.show("resource provider aggregate set", f"{words} --generation 99", code=1)
        assert "generation" in stale
        words += f" --generation {new.show('resource provider show', host)['generation']}"
    assert {each["uuid"] for each in old.show("resource provider aggregate set", words)} == set(AGGREGATES)
    assert {each["uuid"] for each in old.show("resource provider aggregate list", host)} == set(AGGREGATES)
    members = new.show(
        "resource provider list", f"--member-of {AGGREGATES[0]} --member-of {','.join(AGGREGATES)}"
    )
    assert [each["uuid"] for each in members] == [host]


@both("1.2")
def test_classes(old: Commands, version: str) -> None:
    name = f"CUSTOM_{uuid.uuid4().hex.upper()}"
    old.do("resource class create", name)
    assert name in old.do("resource class create", name, code=1)
    assert old.show("resource class show", name) == {"name": name}
    assert {name, "VCPU"} <= {each["name"] for each in old.show("resource class list")}
    old.do("resource class delete", name)
    assert name in old.show("resource class show", name, code=1)
    assert "standard" in old.do("resource class delete", "VCPU", code=1)


@both("1.7")
def test_classes_are_ensured(old: Commands, version: str) -> None:
    name = f"CUSTOM_{uuid.uuid4().hex.upper()}"
    for _ in range(2):
        old.do("resource class set", name)
    old.do("resource class delete", name)
    assert "CUSTOM_" in old.do("resource class set", "VCPU", code=1)


@both("1.6")
def test_traits(old: Commands, new: Commands, version: str, host: str) -> None:
    name = f"CUSTOM_{uuid.uuid4().hex.upper()}"
    old.do("trait create", name)
    assert old.show("trait show", name) == {"name": name}
    assert old.show("trait list", f"--name startswith:{name[:20]}") == [{"name": name}]
    assert old.show("trait list", f"--name in:{name} --associated") == []
    assert len(old.show("trait list")) > 300
    assert old.show("resource provider trait set", f"{host} --trait {name}") == [{"name": name}]
    assert old.show("resource provider trait list", host) == [{"name": name}]
    assert old.show("trait list", f"--name in:{name} --associated") == [{"name": name}]
    assert name in old.do("trait delete", name, code=1)
    required = new.show(
        "resource provider list", f"--required {name} --required {name},HW_CPU_X86_AVX --resource VCPU=1"
    )
    assert [each["uuid"] for each in required] == [host]
    assert host not in {each["uuid"] for each in new.show("resource provider list", f"--forbidden {name}")}
    old.do("resource provider trait delete", host)
    assert old.show("resource provider trait list", host) == []
    old.do("trait delete", name)
    assert name in old.show("trait show", name, code=1)
    assert "CUSTOM_" in old.do("trait create", "lowercase", code=1)


@pytest.mark.parametrize(
    ("version", "old"),
    [(each, each) for each in ("1.0", "1.8", "1.12", "1.28", NEWEST)],
    indirect=["old"],
)
def test_allocations(old: Commands, version: str, host: str) -> None:
    number = int(version.partition(".")[2])
    consumer = str(uuid.uuid4())
    words = f"{consumer} --allocation rp={host},VCPU=2 --allocation rp={host},DISK_GB=10"
    if number >= 8:
        words += " --project-id p1 --user-id u1"
    if number >= 38:
        words += " --consumer-type INSTANCE"
    (held,) = old.show("resource provider allocation set", words)
    assert (held["resource_provider"], held["resources"]) == (host, {"VCPU": 2, "DISK_GB": 10})
    assert held.get("project_id") == ("p1" if number >= 12 else None)
    assert held.get("consumer_type") == ("INSTANCE" if number >= 38 else None)
    (again,) = old.show("resource provider allocation set", words)
    assert again["resources"] == held["resources"]
    assert old.show("resource provider allocation show", consumer) == [again]
    usage = {each["resource_class"]: each["usage"] for each in old.show("resource provider usage show", host)}
    assert usage == {"VCPU": 2, "DISK_GB": 10}
    assert old.show("resource provider inventory show", f"{host} VCPU")["used"] == 2
    shown = old.show("resource provider show", f"{host} --allocations")["allocations"]
    assert shown[consumer]["resources"] == {"VCPU": 2, "DISK_GB": 10}
    assert "allocated" in old.do("resource provider delete", host, code=1)
    too_much = words.replace("VCPU=2", "VCPU=200")
    assert "VCPU" in old.show("resource provider allocation set", too_much, code=1)
    if number >= 12:
        (left,) = old.show("resource provider allocation unset", f"{consumer} --resource-class DISK_GB")
        assert left["resources"] == {"VCPU": 2}
    old.do("resource provider allocation delete", consumer)
    assert old.show("resource provider allocation show", consumer) == []
    assert consumer in old.do("resource provider allocation delete", consumer, code=1)


def test_usages(shell: Typed, new: Commands, host: str) -> None:
    consumer, project = str(uuid.uuid4()), uuid.uuid4().hex
    claim = f"{consumer} --allocation rp={host},VCPU=3 --project-id {project} --user-id u1 --consumer-type INSTANCE"
    new.show("resource provider allocation set", claim)
    for version in ("1.9", "1.37"):
        then = Commands(shell, version)
        assert then.show("resource usage show", project) == [{"resource_class": "VCPU", "usage": 3}]
        assert then.show("resource usage show", f"{project} --user-id u1")[0]["usage"] == 3
        assert then.show("resource usage show", f"{project} --user-id u2") == []
    (by_type,) = new.show("resource usage show", project)
    assert by_type == {"resource_class": "INSTANCE", "usage": {"VCPU": 3, "consumer_count": 1}}
    new.do("resource provider allocation delete", consumer)


@pytest.mark.parametrize(
    ("version", "old"),
    [(each, each) for each in ("1.10", "1.12", "1.17", "1", NEWEST)],
    indirect=["old"],
)
def test_candidates(old: Commands, version: str, host: str) -> None:
    found = old.show("allocation candidate list", "--resource VCPU=7 --resource DISK_GB=99")
    (own,) = (each for each in found if each["resource provider"] == host)
    assert sorted(own["allocation"].split(",")) == ["DISK_GB=99", "VCPU=7"]
    assert "VCPU=0/8" in own["inventory used/capacity"]
    assert ("traits" in own) == (version not in ("1.10", "1.12"))
    assert "LUNCH" in old.show("allocation candidate list", "--resource LUNCH=1", code=1)


def test_candidates_of_groups(shell: Typed, new: Commands, host: str) -> None:
    generation = new.show("resource provider show", host)["generation"]
    own = str(uuid.uuid4())
    new.show("resource provider aggregate set", f"{host} --aggregate {own} --generation {generation}")
    new.show("resource provider trait set", f"{host} --trait HW_CPU_X86_AVX")
    asked = (
        f"--resource VCPU=1 --required HW_CPU_X86_AVX --forbidden HW_CPU_X86_VMX --member-of {own} --limit 5"
    )
    for version in ("1.24", NEWEST):
        found = Commands(shell, version).show("allocation candidate list", asked)
        assert [each["resource provider"] for each in found] == [host]
    either = f"--resource VCPU=1 --required HW_CPU_X86_AVX,HW_CPU_X86_VMX --member-of {own}"
    assert len(new.show("allocation candidate list", either)) == 1
    groups = f"--group 1 --resource VCPU=1 --member-of {own} --group 2 --resource DISK_GB=1 --group-policy"
    for version in ("1.25", NEWEST):
        then = Commands(shell, version)
        assert [
            each["resource provider"] for each in then.show("allocation candidate list", f"{groups} none")
        ] == [host]
        assert then.show("allocation candidate list", f"{groups} isolate") == []


def test_every_command_is_here() -> None:
    here = " ".join(Path(__file__).read_text().split())
    commands = [each.name.replace("_", " ") for each in entry_points(group="openstack.placement.v1")]
    assert commands
    assert [name for name in commands if f'("{name}"' not in here and f'( "{name}"' not in here] == []
