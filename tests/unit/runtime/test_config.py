"""Where options come from, and which source wins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from oslo_config import cfg

from protonova.services.runtime import config


@pytest.fixture(autouse=True)
def no_others() -> Iterator[None]:
    """Leaves the registered options of services as they were."""
    registered = list(config._registered)
    yield
    config._registered[:] = registered


def test_defaults_suit_one_machine() -> None:
    conf = config.load(state_path="/srv/cloud")
    assert conf.api_database.connection == "sqlite:////srv/cloud/api.sqlite"
    assert conf.api.target == "127.0.0.1:8780"
    assert (conf.quota.instances, conf.quota.cores, conf.quota.ram) == (10, 20, 51200)
    assert conf.grpc.deadline_seconds == 60
    assert conf.redis.url == ""


def test_the_strongest_source_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "protonova.conf"
    file.write_text("[DEFAULT]\nhost = from-file\n[quota]\ncores = 1\nram = 1\ninstances = 1\n")
    monkeypatch.setenv("OS_QUOTA__RAM", "2")
    monkeypatch.setenv("OS_QUOTA__INSTANCES", "2")
    conf = config.load(["--config-file", str(file)], quota__instances=3)
    assert conf.host == "from-file"
    assert (conf.quota.cores, conf.quota.ram, conf.quota.instances) == (1, 2, 3)
    again = config.load(files=[str(file)], quota={"cores": 4}, host="from-code")
    assert (again.quota.cores, again.host) == (4, "from-code")


def test_services_add_options_before_and_after() -> None:
    config.register("tailor", [cfg.IntOpt("needles", default=3)])
    conf = config.load(tailor__needles=4)
    assert conf.tailor.needles == 4
    config.register("tailor", [cfg.IntOpt("threads", default=5)])
    assert conf.tailor.threads == 5
    config.register("DEFAULT", [cfg.StrOpt("shop", default="corner")])
    assert conf.shop == "corner"


def test_two_owners_of_one_option_are_told_apart() -> None:
    conf = config.load()
    config.register("baker", [cfg.IntOpt("ovens", default=3)])
    with pytest.raises(cfg.DuplicateOptError):
        config.register("baker", [cfg.IntOpt("ovens", default=7)])
    assert conf.baker.ovens == 3


def test_the_sample_file_has_every_group_once() -> None:
    groups = [group for group, _ in config.list_opts()]
    assert len(groups) == len(set(groups))
    assert {"DEFAULT", "grpc", "quota", "api", "conductor", "placement", "service_auth"} <= set(groups)
    for _, opts in config.list_opts():
        assert all(opt.help for opt in opts)
