"""Who may do what: defaults, overrides that count at once, and what asking costs."""

from __future__ import annotations

import time

import pytest

from protonova.gateway.policy import compute_rules, placement_rules
from protonova.gateway.policy.enforcer import Enforcer
from protonova.services.runtime import config
from tests.support.cloud import Cloud
from tests.support.identity import OTHER_PROJECT, PROJECT, TOKENS

OWN = {"project_id": PROJECT, "user_id": "someone"}
FOREIGN = {"project_id": OTHER_PROJECT, "user_id": "someone"}


@pytest.fixture
def policy_file(tmp_path):
    return tmp_path / "policy.yaml"


@pytest.fixture
def make(policy_file):
    def enforcer(**overrides):
        conf = config.load(files=[])
        made = Enforcer(conf, compute_rules(), str(policy_file))
        for name, value in overrides.items():
            conf.set_override(name, value, "oslo_policy")
        return made

    return enforcer


def allowed(enforcer, rule, target=OWN):
    return {name for name, identity in TOKENS.items() if enforcer.allows(rule, identity, target)}


@pytest.mark.parametrize(
    ("rule", "target", "who"),
    [
        ("os_compute_api:servers:show", OWN, {"admin", "manager", "member", "reader"}),
        ("os_compute_api:servers:show", FOREIGN, {"admin", "other"}),
        ("os_compute_api:servers:create", OWN, {"admin", "manager", "member"}),
        ("os_compute_api:os-migrate-server:migrate", OWN, {"admin", "manager"}),
        ("os_compute_api:os-services:list", OWN, {"admin"}),
        ("os_compute_api:os-server-external-events:create", OWN, {"admin", "service"}),
        ("os_compute_api:limits", OWN, set(TOKENS)),
        ("compute:servers:resize:cross_cell", OWN, set()),
        ("os_compute_api:os-keypairs:show", {"user_id": "readeruser"}, {"admin", "reader"}),
        ("os_compute_api:nonsense", OWN, set()),
    ],
)
def test_defaults(make, rule, target, who):
    assert allowed(make(), rule, target) == who


def test_placement_defaults():
    conf = config.load(files=[])
    enforcer = Enforcer(conf, placement_rules(), "placement-policy.yaml", "admin_api")
    assert allowed(enforcer, "placement:resource_providers:list") == {"admin", "service"}
    assert allowed(enforcer, "placement:reshaper:reshape") == {"service"}
    assert allowed(enforcer, "placement:usages", {"project_id": PROJECT}) == {
        "admin",
        "manager",
        "member",
        "reader",
        "service",
    }


def test_overrides_count_without_a_restart(make, policy_file):
    rule = "os_compute_api:servers:create"
    enforcer = make()
    assert "member" in allowed(enforcer, rule)
    policy_file.write_text(f'"{rule}": "role:admin"\n')
    deadline = time.monotonic() + 5
    while "member" in allowed(enforcer, rule) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert allowed(enforcer, rule) == {"admin"}
    policy_file.unlink()
    while allowed(enforcer, rule) == {"admin"} and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "member" in allowed(enforcer, rule)


def test_old_names_still_override(make, policy_file):
    policy_file.write_text('"os_compute_api:os-services": "role:reader"\n')
    assert "reader" in allowed(make(), "os_compute_api:os-services:list")


def test_users_may_be_kept_to_their_own_servers(policy_file):
    policy_file.write_text('"os_compute_api:servers:stop": "user_id:%(user_id)s"\n')
    cloud = Cloud(oslo_policy={"policy_file": str(policy_file)})
    try:
        own, foreign = cloud.put_server(), cloud.put_server(user_id="somebody")
        stop = {"os-stop": None}
        assert cloud.call("POST", f"/servers/{own.id}/action", stop).status_code == 202
        assert cloud.call("POST", f"/servers/{foreign.id}/action", stop).status_code == 403
        assert cloud.call("POST", "/servers/none/action", stop).status_code == 404
        assert (
            cloud.call("POST", f"/servers/{foreign.id}/action", {"reboot": {"type": "SOFT"}}).status_code
            == 202
        )
    finally:
        cloud.close()
