"""Flavors over the wire."""

import pytest

from protonova.api.v1 import flavor_pb2 as pb
from protonova.common.v1.flavor_pb2 import Flavor
from protonova.services.runtime import context, errors
from tests.functional.api.conftest import ADMIN, OTHER, in_parallel


@pytest.fixture
def flavors(region):
    return region.api.flavors


def listed(flavors, **fields):
    request = pb.ListFlavorsRequest(**{"page_size": 100, **fields})
    return [flavor.id for flavor in flavors.ListFlavors(request).flavors]


def test_a_flavor_is_made_shown_described_and_deleted(any_region):
    flavors = any_region.api.flavors
    made = flavors.CreateFlavor(
        pb.CreateFlavorRequest(
            flavor=Flavor(
                name="big", vcpus=4, memory_mb=4096, root_gb=20, is_public=True, extra_specs={"a": "1"}
            )
        )
    ).flavor
    assert len(made.id) == 36
    assert (made.vcpus, made.rxtx_factor, dict(made.extra_specs)) == (4, 1.0, {"a": "1"})
    assert not made.HasField("description")
    described = flavors.UpdateFlavor(pb.UpdateFlavorRequest(id=made.id, description="large")).flavor
    assert (described.description, described.HasField("updated_at")) == ("large", True)
    assert flavors.GetFlavor(pb.GetFlavorRequest(id=made.id)).flavor == described
    flavors.DeleteFlavor(pb.DeleteFlavorRequest(id=made.id))
    with pytest.raises(errors.NotFound) as raised:
        flavors.GetFlavor(pb.GetFlavorRequest(id=made.id))
    assert raised.value.reason == "FLAVOR_NOT_FOUND"


@pytest.mark.parametrize(
    ("flavor_id", "name", "field"), [("small", "other", "id"), ("other", "small", "name")]
)
def test_ids_and_names_are_taken_once(region, flavor_id, name, field):
    with pytest.raises(errors.AlreadyExists) as raised:
        region.add_flavor(flavor_id, name=name)
    assert (raised.value.reason, raised.value.facts["field"]) == ("FLAVOR_EXISTS", field)


@pytest.mark.parametrize(
    ("field", "value"), [("vcpus", 0), ("memory_mb", 0), ("root_gb", -1), ("name", " "), ("swap_mb", 1 << 40)]
)
def test_impossible_sizes_are_refused(region, field, value):
    with pytest.raises(errors.InvalidArgument) as raised:
        region.add_flavor("odd", **{field: value})
    assert (raised.value.reason, raised.value.facts["field"]) == ("FLAVOR_INVALID", field)


def test_private_flavors_are_seen_by_those_they_are_shared_with(region, flavors):
    region.add_flavor("private", is_public=False)
    with pytest.raises(errors.NotFound):
        flavors.GetFlavor(pb.GetFlavorRequest(id="private"))
    with context.use(ADMIN):
        shared = flavors.AddFlavorAccess(pb.AddFlavorAccessRequest(id="private", project_id="project"))
        assert list(shared.project_ids) == ["project"]
        assert list(flavors.ListFlavorAccess(pb.ListFlavorAccessRequest(id="private")).project_ids) == [
            "project"
        ]
        with pytest.raises(errors.AlreadyExists) as raised:
            flavors.AddFlavorAccess(pb.AddFlavorAccessRequest(id="private", project_id="project"))
        assert raised.value.reason == "FLAVOR_ACCESS_EXISTS"
        assert listed(flavors) == ["small"]
        assert listed(flavors, visibility=pb.FLAVOR_VISIBILITY_ALL) == ["private", "small"]
        assert listed(flavors, visibility=pb.FLAVOR_VISIBILITY_PRIVATE) == ["private"]
    assert listed(flavors) == ["private", "small"]
    with context.use(OTHER):
        assert listed(flavors) == ["small"]
    with context.use(ADMIN):
        flavors.RemoveFlavorAccess(pb.RemoveFlavorAccessRequest(id="private", project_id="project"))
        with pytest.raises(errors.NotFound) as raised:
            flavors.RemoveFlavorAccess(pb.RemoveFlavorAccessRequest(id="private", project_id="project"))
        assert raised.value.reason == "FLAVOR_ACCESS_NOT_FOUND"
    assert listed(flavors) == ["small"]


def test_public_flavors_have_no_access_list(region, flavors):
    with pytest.raises(errors.NotFound) as raised:
        flavors.ListFlavorAccess(pb.ListFlavorAccessRequest(id="small"))
    assert raised.value.reason == "FLAVOR_IS_PUBLIC"
    with pytest.raises(errors.FailedPrecondition) as raised:
        flavors.AddFlavorAccess(pb.AddFlavorAccessRequest(id="small", project_id="p", refuse_public=True))
    assert raised.value.reason == "FLAVOR_IS_PUBLIC"
    flavors.AddFlavorAccess(pb.AddFlavorAccessRequest(id="small", project_id="p"))


def test_extra_specs_are_merged_and_removed_one_by_one(any_region):
    flavors = any_region.api.flavors
    for specs in ({"a": "1", "b": "2"}, {"b": "3"}):
        merged = flavors.UpdateFlavorExtraSpecs(
            pb.UpdateFlavorExtraSpecsRequest(id="small", extra_specs=specs)
        )
    assert dict(merged.extra_specs) == {"a": "1", "b": "3"}
    flavors.DeleteFlavorExtraSpec(pb.DeleteFlavorExtraSpecRequest(id="small", key="a"))
    with pytest.raises(errors.NotFound) as raised:
        flavors.DeleteFlavorExtraSpec(pb.DeleteFlavorExtraSpecRequest(id="small", key="a"))
    assert raised.value.reason == "EXTRA_SPEC_NOT_FOUND"
    assert dict(flavors.GetFlavor(pb.GetFlavorRequest(id="small")).flavor.extra_specs) == {"b": "3"}


def test_lists_are_filtered_sorted_and_paged(region, flavors):
    for number, memory in enumerate((1024, 512, 2048, 512)):
        region.add_flavor(f"f{number}", memory_mb=memory, root_gb=number)
    region.add_flavor("off", disabled=True)
    assert listed(flavors) == ["f0", "f1", "f2", "f3", "small"]
    assert listed(flavors, include_disabled=True)[-2] == "off"
    assert listed(flavors, min_memory_mb=1024) == ["f0", "f2"]
    assert listed(flavors, min_root_gb=2, name="f3") == ["f3"]
    by_memory = {"sort_key": "memory_mb", "sort_descending": True}
    whole = listed(flavors, **by_memory)
    assert whole == ["f2", "f0", "small", "f1", "f3"]
    pages, token = [], ""
    while page := listed(flavors, page_size=2, page_token=token, **by_memory):
        pages += page
        token = page[-1]
    assert pages == whole
    assert listed(flavors, page_size=0) == []
    for wrong, reason in (
        ({"page_token": "gone"}, "MARKER_NOT_FOUND"),
        ({"sort_key": "colour"}, "SORT_INVALID"),
    ):
        with pytest.raises(errors.InvalidArgument) as raised:
            listed(flavors, **wrong)
        assert raised.value.reason == reason


def test_two_who_make_the_same_flavor_at_once(any_region):
    results = in_parallel(4, lambda number: any_region.add_flavor("same"))
    refused = [result for result in results if isinstance(result, Exception)]
    assert len(refused) == 3
    assert {error.reason for error in refused} == {"FLAVOR_EXISTS"}
