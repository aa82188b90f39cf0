"""Allocations of the oldest clients, which name neither a project nor a user."""

from __future__ import annotations

import pytest

from tests.support.placement_cloud import CONSUMER, OTHER, PlacementCloud, claim


@pytest.fixture
def placement(sqlite_url, monkeypatch):
    """Of an operator who says whose they are."""
    monkeypatch.setenv("OS_PLACEMENT__INCOMPLETE_CONSUMER_PROJECT_ID", "lost")
    monkeypatch.setenv("OS_PLACEMENT__INCOMPLETE_CONSUMER_USER_ID", "found")
    made = PlacementCloud(sqlite_url)
    yield made
    made.close()


def test_they_are_those_of_the_configured_project_and_user(placement: PlacementCloud) -> None:
    host = placement.provider("a", {"VCPU": 8})
    for consumer, version in ((CONSUMER, "1.0"), (OTHER, "1.7")):
        path = f"/allocations/{consumer}"
        assert placement.put(path, claim({host: {"VCPU": 1}}, version), version=version).status_code == 204
        shown = placement.get(path).json
        assert (shown["project_id"], shown["user_id"]) == ("lost", "found")
        assert (shown["consumer_type"], shown["consumer_generation"]) == ("unknown", 1)
    used = placement.get("/usages?project_id=lost&user_id=found").json["usages"]
    assert used == {"unknown": {"VCPU": 2, "consumer_count": 2}}
    # A newer client names whose they are.
    assert placement.put(path, claim({host: {"VCPU": 3}}, generation=1)).status_code == 204
    assert placement.get(path).json["project_id"] == "p"
    # And an old one takes away what it made.
    assert placement.call("DELETE", f"/allocations/{CONSUMER}", version="1.0").status_code == 204
    assert placement.get("/usages?project_id=lost").json["usages"] == {}
