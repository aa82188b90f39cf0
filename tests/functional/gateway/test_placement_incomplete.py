"""Allocations of the oldest clients, which name neither a project nor a user."""

from __future__ import annotations

import pytest

from tests.functional.gateway.test_placement_allocations import CONSUMER, OTHER, body
from tests.support.placement_cloud import PlacementCloud

NIL = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("configured", [True, False])
def test_they_are_those_of_the_configured_project_and_user(tmp_path, monkeypatch, configured: bool) -> None:
    project, user = ("lost", "found") if configured else (NIL, NIL)
    if configured:
        monkeypatch.setenv("OS_PLACEMENT__INCOMPLETE_CONSUMER_PROJECT_ID", project)
        monkeypatch.setenv("OS_PLACEMENT__INCOMPLETE_CONSUMER_USER_ID", user)
    placement = PlacementCloud(tmp_path)
    try:
        provider = placement.provider("a", {"VCPU": 8})
        for consumer, version in ((CONSUMER, "1.0"), (OTHER, "1.7")):
            path = f"/allocations/{consumer}"
            assert placement.put(path, body(provider, version), version=version).status_code == 204
            shown = placement.get(path).json
            assert (shown["project_id"], shown["user_id"]) == (project, user)
            assert (shown["consumer_type"], shown["consumer_generation"]) == ("unknown", 1)
        used = placement.get(f"/usages?project_id={project}&user_id={user}").json["usages"]
        assert used == {"unknown": {"VCPU": 2, "consumer_count": 2}}
        # A newer client names whose they are.
        assert placement.put(path, body(provider, "1.39", 3, generation=1)).status_code == 204
        assert placement.get(path).json["project_id"] == "p"
        # And an old one takes away what it made.
        assert placement.call("DELETE", f"/allocations/{CONSUMER}", version="1.0").status_code == 204
        assert placement.get(f"/usages?project_id={project}").json["usages"] == {}
    finally:
        placement.close()
