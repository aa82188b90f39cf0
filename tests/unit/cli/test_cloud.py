"""From options to files and a plan: what a start writes, and what it keeps of the start before."""

from __future__ import annotations

import configparser
import stat
from pathlib import Path

import pytest
import yaml

from protonova.cli import blank_image, cloud, credentials, settings
from protonova.cli.cloud import Options
from protonova.cli.layout import MAX_CELLS, MAX_REPLICAS, Ports, StateDirectory
from protonova.cli.plan import Plan


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory.at(tmp_path / "state")


def _read(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(path)
    return parser


def test_a_plan_has_every_service_at_a_port_of_its_own(state: StateDirectory) -> None:
    plan = cloud.prepare(state, Options(base_port=30000, driver="fake", computes=5, cells=2))
    names = [process.name for process in plan.processes]
    assert sorted(names) == [
        "api", "companions", "compute-1", "compute-2", "conductor-1", "conductor-2", "gateway", "placement",
        "scheduler",
    ]  # fmt: skip
    addresses = [process.address for process in plan.processes]
    assert len(set(addresses)) == len(addresses)
    assert Plan.read(state.plan) == plan


def test_replicas_share_one_target_and_listen_each_for_itself(state: StateDirectory) -> None:
    plan = cloud.prepare(state, Options(base_port=30000, driver="fake", computes=4, cells=2, replicas=2))
    by_name = {process.name: process for process in plan.processes}
    assert sorted(by_name) == [
        "api-1", "api-2", "companions", "compute-1", "compute-2", "conductor-1-1", "conductor-1-2",
        "conductor-2-1", "conductor-2-2", "gateway", "placement-1", "placement-2", "scheduler-1", "scheduler-2",
    ]  # fmt: skip
    assert len({process.address for process in plan.processes}) == len(plan.processes)
    assert len({(p.service, p.replica) for p in plan.processes}) == len(plan.processes)
    common, cell = _read(state.config), _read(state.cell_config("cell2"))
    assert common["api"]["target"] == f"{by_name['api-1'].address},{by_name['api-2'].address}"
    assert cell["conductor"]["listen"] == by_name["conductor-2-1"].address
    assert by_name["conductor-2-2"].address in cell["conductor"]["target"]
    assert by_name["conductor-2-2"].environment == {"OS_CONDUCTOR__LISTEN": by_name["conductor-2-2"].address}
    assert by_name["api-1"].environment == {}


def test_ports_of_the_most_cells_and_replicas_are_apart(state: StateDirectory) -> None:
    options = Options(base_port=20000, driver="fake", computes=20, cells=MAX_CELLS, replicas=MAX_REPLICAS)
    plan = cloud.prepare(state, options)
    assert len({process.address for process in plan.processes}) == len(plan.processes)


def test_simulated_hosts_are_dealt_out_to_cells() -> None:
    assert settings.host_names("fake", 5, 2, "here") == [
        ["compute-1", "compute-3", "compute-5"],
        ["compute-2", "compute-4"],
    ]
    assert settings.host_names("libvirt", 5, 2, "here") == [["here"], []]


def test_a_cell_without_hosts_has_no_agent(state: StateDirectory) -> None:
    plan = cloud.prepare(state, Options(driver="libvirt", cells=2))
    assert [p.name for p in plan.processes if p.service == "compute"] == ["compute-1"]


def test_cells_share_the_configuration_but_what_is_theirs(state: StateDirectory) -> None:
    cloud.prepare(state, Options(driver="fake", computes=2, cells=2))
    common, one, two = (
        _read(path) for path in (state.config, state.cell_config("cell1"), state.cell_config("cell2"))
    )
    assert common["api"]["target"] == common["api"]["listen"] == "127.0.0.1:8784"
    assert one["database"]["connection"] != two["database"]["connection"]
    assert one["cell"]["id"] != two["cell"]["id"]
    assert one["conductor"]["target"] != two["conductor"]["target"]
    assert one["compute"]["hosts"] == "compute-1"


def test_dollars_in_values_stay_dollars() -> None:
    assert "path = /a$$b" in settings.text({"DEFAULT": {"path": "/a$b"}}, "x")


def test_credentials_are_private_and_kept(state: StateDirectory) -> None:
    cloud.prepare(state, Options(driver="fake"))
    before = yaml.safe_load(state.clouds.read_text())["clouds"]
    assert before["protonova"]["auth"]["project_name"] == "demo"
    assert before["protonova-admin"]["auth"]["username"] == "admin"
    assert before["protonova"]["auth"]["password"] != before["protonova-admin"]["auth"]["password"]
    for path in (state.clouds, state.openrc, state.secrets, state.config, state.plan):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    cloud.prepare(state, Options(driver="fake"))
    assert yaml.safe_load(state.clouds.read_text())["clouds"] == before


def test_options_are_remembered_until_others_are_given(state: StateDirectory) -> None:
    assert Options.remembered(state) == Options()
    cloud.prepare(state, Options(base_port=30000, driver="fake", computes=3))
    remembered = Options.remembered(state).changed(computes=None, cells=2)
    assert remembered == Options(base_port=30000, driver="fake", computes=3, cells=2)


def test_an_own_configuration_is_read_last(state: StateDirectory, tmp_path: Path) -> None:
    own = tmp_path / "own.conf"
    own.write_text("[quota]\ninstances = 3\n")
    plan = cloud.prepare(state, Options(driver="fake", config=str(own)))
    for process in plan.processes:
        if process.service != "companions":
            assert process.arguments[-2:] == ["--config-file", str(own)]


def test_ports_count_from_the_base() -> None:
    ports = Ports(40000)
    assert ports.gateway == 40000
    assert ports.placement_rest == 40004
    assert Ports().placement_rest == 8778


def test_the_key_file_is_written_at_once(state: StateDirectory) -> None:
    state.create()
    state.key.write_text("old")
    state.key.chmod(0o644)
    credentials.write_private(state.key, "new")
    assert state.key.read_text() == "new"
    assert stat.S_IMODE(state.key.stat().st_mode) == 0o600


def test_the_blank_image_is_a_qcow2_without_surprises(tmp_path: Path) -> None:
    from oslo_utils.imageutils import format_inspector

    path = tmp_path / "blank.qcow2"
    path.write_bytes(blank_image.qcow2(8 << 20))
    found = format_inspector.detect_file_format(str(path))
    assert str(found) == "qcow2"
    assert found.virtual_size == 8 << 20
    found.safety_check()
