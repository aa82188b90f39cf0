"""Drivers by name, from a configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from oslo_config import cfg

from protonova.services.compute import virt
from protonova.services.compute.virt.driver import GuestSpec, PowerState


@pytest.fixture
def conf(tmp_path: Path) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    conf.register_opt(cfg.StrOpt("state_path", default=str(tmp_path)))
    conf([], default_config_files=[], default_config_dirs=[])
    virt.options.register(conf)
    return conf


def no_images(image_id: str, writer) -> None:
    raise AssertionError("no image is wanted")


def test_the_fake_driver_with_its_options(conf: cfg.ConfigOpts, tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    conf.set_override("vcpus", 8, group="fake")
    conf.set_override("faults", str(faults), group="fake")
    conf.set_override("cpu_allocation_ratio", 2.0, group="virt")
    spec = GuestSpec("0b0e0a6e-8b1f-4d6b-8a39-1ad8d3c6e1b1", "instance-00000001")
    with virt.load("fake", conf, host="h1", fetch=no_images) as driver:
        facts = driver.inventory()
        assert (facts.hostname, facts.vcpus, facts.cpu_allocation_ratio) == ("h1", 8, 2.0)
        faults.write_text(json.dumps({"rules": [{"call": "spawn", "error": "HostRefuses", "times": 1}]}))
        with pytest.raises(virt.errors.HostRefuses):
            driver.spawn(spec)
        driver.spawn(spec)
    with virt.load("fake", conf, host="h1", fetch=no_images) as driver:
        assert driver.guest(spec.server_id).power_state is PowerState.RUNNING
    assert (tmp_path / "fake-guests.sqlite").exists()


def test_auto_is_fake_where_no_daemon_answers(conf: cfg.ConfigOpts, tmp_path: Path) -> None:
    conf.set_override("uri", f"qemu+unix:///system?socket={tmp_path}/nobody", group="libvirt")
    conf.set_override("store", ":memory:", group="fake")
    with virt.load("auto", conf, host="h1", fetch=no_images) as driver:
        assert driver.inventory().hypervisor_type == "fake"
    assert list(tmp_path.iterdir()) == []


def test_unknown_drivers(conf: cfg.ConfigOpts) -> None:
    with pytest.raises(virt.errors.DriverError, match="abacus"):
        virt.load("abacus", conf, host="h1", fetch=no_images)


@pytest.mark.libvirt
def test_auto_is_libvirt_where_its_daemon_answers(conf: cfg.ConfigOpts) -> None:
    pytest.importorskip("libvirt")
    with virt.load("auto", conf, host="virt-load-test", fetch=no_images) as driver:
        assert driver.guests() == []
        assert driver.inventory().hypervisor_type == "QEMU"
