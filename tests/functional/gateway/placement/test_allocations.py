"""Allocations: the form of each version, generations of consumers, capacity, many at once; usages of projects."""

from __future__ import annotations

import pytest

from tests.support.placement_cloud import CONSUMER, MISSING, OTHER, claim, minor, problem

PATH = f"/allocations/{CONSUMER}"
NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def host(placement):
    return placement.provider("host", {"VCPU": 8, "MEMORY_MB": 1024})


FORMS = ["1.0", "1.7", "1.8", "1.11", "1.12", "1.27", "1.28", "1.33", "1.34", "1.37", "1.38", "1.39"]


@pytest.mark.parametrize("version", FORMS)
def test_the_form_of_each_version(placement, host, version):
    number = minor(version)
    body = claim({host: {"VCPU": 1}}, version)
    assert placement.put(PATH, body, version=version).status_code == 204
    expected = {"allocations": {host: {"resources": {"VCPU": 1}, "generation": 2}}}
    if number >= 12:
        expected |= {"project_id": "p", "user_id": "u"}
    if number >= 28:
        expected["consumer_generation"] = 1
    if number >= 38:
        expected["consumer_type"] = "INSTANCE"
    assert placement.get(PATH, version=version).json == expected
    held = placement.get(f"/resource_providers/{host}/allocations", version=version).json
    of_consumer = {"resources": {"VCPU": 1}} | ({"consumer_generation": 1} if number >= 28 else {})
    assert held == {"resource_provider_generation": 2, "allocations": {CONSUMER: of_consumer}}


@pytest.mark.parametrize("version", FORMS)
def test_what_each_version_asks_for(placement, host, version):
    number = minor(version)
    before = placement.state()
    body = claim({host: {"VCPU": 1}}, version)
    for field in body:
        problem(
            placement.put(PATH, {**body, field: 7}, version=version),
            400 if field != "consumer_generation" else 409,
        )
        lacking = {name: value for name, value in body.items() if name != field}
        problem(placement.put(PATH, lacking, version=version), 400, None, field)
    for field, since, value in (
        ("project_id", 8, "p"),
        ("user_id", 8, "u"),
        ("consumer_generation", 28, None),
        ("mappings", 34, {"": [host]}),
        ("consumer_type", 38, "INSTANCE"),
        ("bogus", 99, 1),
    ):
        if number < since:
            problem(placement.put(PATH, {**body, field: value}, version=version), 400, None, field)
    other_form = claim({host: {"VCPU": 1}}, "1.0" if number >= 12 else "1.12")["allocations"]
    problem(
        placement.put(PATH, {**body, "allocations": other_form}, version=version), 400, None, "allocations"
    )
    if number < 28:
        empty = {**body, "allocations": {} if number >= 12 else []}
        problem(placement.put(PATH, empty, version=version), 400, None, "allocations")
    assert placement.state() == before


BAD_BODIES = [
    ({"allocations": {MISSING: {"resources": {"VCPU": 1}}}}, MISSING),
    ({"allocations": {"x": {"resources": {"VCPU": 1}}}}, "'x'"),
    ({"allocations": {"-" * 36: {"resources": {"VCPU": 1}}}}, "UUID"),
    ({"allocations": {"HOST": {}}}, "resources"),
    ({"allocations": {"HOST": {"resources": {}}}}, "resources"),
    ({"allocations": {"HOST": {"resources": []}}}, "resources"),
    ({"allocations": {"HOST": {"resources": {"VCPU": 0}}}}, "VCPU"),
    ({"allocations": {"HOST": {"resources": {"VCPU": -1}}}}, "VCPU"),
    ({"allocations": {"HOST": {"resources": {"VCPU": "1"}}}}, "VCPU"),
    ({"allocations": {"HOST": {"resources": {"VCPU": 1.5}}}}, "VCPU"),
    ({"allocations": {"HOST": {"resources": {"VCPU": None}}}}, "VCPU"),
    ({"allocations": {"HOST": {"resources": {"VCPU": 2**70}}}}, "VCPU"),
    ({"allocations": {"HOST": {"resources": {"vcpu": 1}}}}, "vcpu"),
    ({"allocations": {"HOST": {"resources": {"NOPE": 1}}}}, "NOPE"),
    ({"allocations": {"HOST": {"resources": {"N" * 9999: 1}}}}, "NNN"),
    ({"allocations": {"HOST": {"resources": {"VCPU": 1}, "bogus": 1}}}, "bogus"),
    ({"allocations": {"HOST": {"resources": {"VCPU": 1}, "generation": "1"}}}, "generation"),
    ({"project_id": ""}, "project_id"),
    ({"project_id": "p" * 256}, "project_id"),
    ({"project_id": "p\0"}, "project_id"),
    ({"user_id": None}, "user_id"),
    ({"user_id": "u\0"}, "user_id"),
    ({"consumer_generation": "1"}, "consumer_generation"),
    ({"consumer_generation": 1.5}, "consumer_generation"),
    ({"consumer_type": "instance"}, "consumer_type"),
    ({"consumer_type": ""}, "consumer_type"),
    ({"consumer_type": "T" * 256}, "consumer_type"),
    ({"consumer_type": None}, "consumer_type"),
    ({"mappings": {}}, "mappings"),
    ({"mappings": {"": []}}, "mappings"),
    ({"mappings": {"": ["x"]}}, "mappings"),
    ({"mappings": {"a b": [MISSING]}}, "a b"),
    ({"mappings": {"a" * 65: [MISSING]}}, "aaa"),
]


@pytest.mark.parametrize(("change", "word"), BAD_BODIES)
def test_bodies_that_are_refused(placement, host, change, word):
    """By all three operations that take allocations."""
    body = claim({host: {"VCPU": 1}}) | change
    held = body["allocations"]
    body["allocations"] = {host if name == "HOST" else name: each for name, each in held.items()}
    before = placement.state()
    problem(placement.put(PATH, body), 400, "placement.undefined_code", word)
    both = {OTHER: claim({host: {"VCPU": 1}}), CONSUMER: body}
    problem(placement.call("POST", "/allocations", both), 400, "placement.undefined_code", word)
    shape = {"resource_provider_generation": 1, "inventories": {"VCPU": {"total": 99}}}
    moved = {"inventories": {host: shape}, "allocations": both}
    problem(
        placement.call("POST", "/reshaper", moved, token="service"), 400, "placement.undefined_code", word
    )
    assert placement.state() == before


def test_a_generation_of_a_provider_is_taken_and_ignored(placement, host):
    body = claim({host: {"VCPU": 1}})
    body["allocations"][host]["generation"] = 99
    assert placement.put(PATH, body).status_code == 204


def test_mappings_are_taken_and_ignored(placement, host):
    for generation, mappings in ((None, {"": [host]}), (1, {"_a-B9" + "x" * 59: [MISSING, host]})):
        body = claim({host: {"VCPU": 1}}, "1.34", generation, mappings=mappings)
        assert placement.put(PATH, body, version="1.34").status_code == 204
    assert "mappings" not in placement.get(PATH).json


@pytest.mark.parametrize("consumer", ["x", "-" * 36, "%00", CONSUMER + "0", "x" * 5000])
def test_consumers_that_are_no_uuids(placement, host, consumer):
    answer = placement.put(f"/allocations/{consumer}", claim({host: {"VCPU": 1}}))
    problem(answer, 404 if consumer == "%00" else 400)
    if consumer != "%00":
        assert placement.get(f"/allocations/{consumer}").json == {"allocations": {}}
    problem(placement.call("DELETE", f"/allocations/{consumer}"), 404)


def test_any_way_of_writing_a_uuid(placement, host):
    plain = CONSUMER.replace("-", "")
    body = claim({host.upper(): {"VCPU": 1}})
    assert placement.put(f"/allocations/{plain}", body).status_code == 204
    for written in (plain, CONSUMER):
        assert placement.get(f"/allocations/{written}").json["consumer_generation"] == 1
    assert placement.call("DELETE", f"/allocations/{plain}").status_code == 204
    assert placement.get(PATH).json == {"allocations": {}}


def test_nothing_is_named_twice(placement, host):
    before = placement.state()
    consumer = "abcdefab-cdef-abcd-efab-cdefabcdefab"
    one = claim({host: {"VCPU": 1}})
    twice = {consumer: one, consumer.upper(): one}
    problem(placement.call("POST", "/allocations", twice), 400, None, consumer, "twice")
    for version in ("1.11", "1.12", "1.39"):
        body = claim({host: {"VCPU": 1}, host.upper(): {"MEMORY_MB": 1}}, version)
        problem(placement.put(PATH, body, version=version), 400, None, host, "twice")
    assert placement.state() == before


def test_a_consumer_from_first_to_last(placement, host):
    def put(generation, vcpus=1, **rest):
        providers = {host: {"VCPU": vcpus}} if vcpus else {}
        return placement.put(PATH, claim(providers, generation=generation, **rest))

    assert placement.get(PATH).json == {"allocations": {}}
    problem(put(0), 409, "placement.concurrent_update")
    problem(put(1), 409, "placement.concurrent_update")
    assert put(None, 0).status_code == 204
    assert placement.get(PATH).json == {"allocations": {}}
    assert put(None).status_code == 204
    for generation in (None, 0, 2, -1, 2**62):
        problem(put(generation), 409, "placement.concurrent_update", CONSUMER)
    assert put(1, 2, project="p2", user="u2", type_="MIGRATION").status_code == 204
    shown = placement.get(PATH).json
    assert (shown["project_id"], shown["user_id"], shown["consumer_type"]) == ("p2", "u2", "MIGRATION")
    assert shown["consumer_generation"] == 2
    problem(put(1, 0), 409, "placement.concurrent_update")
    assert put(2, 0).status_code == 204
    assert placement.get(PATH).json == {"allocations": {}}
    problem(put(2), 409, "placement.concurrent_update")
    assert put(None).status_code == 204
    assert placement.get(PATH).json["consumer_generation"] == 1
    generation = placement.generation(host)
    assert placement.call("DELETE", PATH, version="1.0").status_code == 204
    assert placement.generation(host) == generation
    problem(placement.call("DELETE", PATH), 404, None, CONSUMER)


def test_older_callers_do_not_name_a_generation(placement, host):
    for amount in (1, 2):
        assert placement.put(PATH, claim({host: {"VCPU": amount}}, "1.27"), version="1.27").status_code == 204
    assert placement.get(PATH).json["consumer_generation"] == 2
    assert placement.get(PATH).json["consumer_type"] == "unknown"


def test_older_callers_keep_the_type(placement, host):
    placement.hold(CONSUMER, {host: {"VCPU": 1}}, type_="MIGRATION")
    body = claim({host: {"VCPU": 2}}, "1.37", generation=1, project="q")
    assert placement.put(PATH, body, version="1.37").status_code == 204
    shown = placement.get(PATH).json
    assert (shown["consumer_type"], shown["project_id"]) == ("MIGRATION", "q")
    placement.call("DELETE", PATH)
    assert placement.put(PATH, claim({host: {"VCPU": 2}}, "1.37"), version="1.37").status_code == 204
    assert placement.get(PATH).json["consumer_type"] == "unknown"


def test_nobody_holds_what_was_written_before_1_8(placement, host):
    assert placement.put(PATH, claim({host: {"VCPU": 2}}, "1.7"), version="1.7").status_code == 204
    shown = placement.get(PATH).json
    assert (shown["project_id"], shown["user_id"]) == (NOBODY, NOBODY)
    used = placement.get(f"/usages?project_id={NOBODY}", version="1.9").json
    assert used == {"usages": {"VCPU": 2}}


@pytest.mark.parametrize(
    ("resources", "word"),
    [
        ({"VCPU": 9}, "VCPU"),
        ({"VCPU": 2**31}, "VCPU"),
        ({"VCPU": 2**62}, "VCPU"),
        ({"DISK_GB": 1}, "DISK_GB"),
        ({"VCPU": 1, "DISK_GB": 1}, "DISK_GB"),
        ({"MEMORY_MB": 100}, "MEMORY_MB"),
        ({"MEMORY_MB": 64}, "MEMORY_MB"),
        ({"MEMORY_MB": 640}, "MEMORY_MB"),
    ],
)
def test_what_does_not_fit(placement, resources, word):
    host = placement.provider("odd", {"VCPU": 8})
    memory = {
        "resource_class": "MEMORY_MB",
        "total": 1024,
        "min_unit": 128,
        "max_unit": 512,
        "step_size": 128,
    }
    placement.call("POST", f"/resource_providers/{host}/inventories", memory)
    before = placement.state()
    for version in ("1.0", "1.12", "1.39"):
        body = claim({host: resources}, version)
        error = problem(placement.put(PATH, body, version=version), 409, None, word, host)
        assert error.get("code", "placement.undefined_code") == "placement.undefined_code"
    assert placement.state() == before


def test_capacity(placement):
    host = placement.provider("host")
    record = {"resource_class": "VCPU", "total": 5, "reserved": 1, "allocation_ratio": 1.6}
    placement.call("POST", f"/resource_providers/{host}/inventories", record)
    problem(placement.put(PATH, claim({host: {"VCPU": 7}})), 409, "placement.undefined_code")
    placement.hold(CONSUMER, {host: {"VCPU": 4}})
    problem(placement.put(f"/allocations/{OTHER}", claim({host: {"VCPU": 3}})), 409)
    # What a consumer has is its own while it asks for other amounts.
    assert placement.put(PATH, claim({host: {"VCPU": 6}}, generation=1)).status_code == 204
    # What was given stays given when capacity shrinks, and may become less in several steps.
    shrunk = {"resource_provider_generation": placement.generation(host), "total": 2}
    assert placement.put(f"/resource_providers/{host}/inventories/VCPU", shrunk).status_code == 200
    problem(placement.put(PATH, claim({host: {"VCPU": 7}}, generation=2)), 409)
    assert placement.put(PATH, claim({host: {"VCPU": 6}}, generation=2)).status_code == 204
    assert placement.put(PATH, claim({host: {"VCPU": 5}}, generation=3)).status_code == 204


def test_generations_of_providers(placement, host):
    other = placement.provider("other", {"VCPU": 8})
    before = placement.generation(host), placement.generation(other)
    placement.hold(CONSUMER, {host: {"VCPU": 1}, other: {"VCPU": 1}})
    assert (placement.generation(host), placement.generation(other)) == (before[0] + 1, before[1] + 1)
    assert placement.put(PATH, claim({host: {"VCPU": 1}}, generation=1)).status_code == 204
    assert (placement.generation(host), placement.generation(other)) == (before[0] + 2, before[1] + 2)
    shown = placement.get(PATH).json["allocations"]
    assert shown == {host: {"resources": {"VCPU": 1}, "generation": before[0] + 2}}


@pytest.mark.parametrize("version", ["1.13", "1.27", "1.28", "1.38", "1.39"])
def test_many_at_once(placement, host, version):
    def post(**consumers):
        return placement.call("POST", "/allocations", consumers, version=version)

    one, five = claim({host: {"VCPU": 1}}, version), claim({host: {"VCPU": 8}}, version)
    before = placement.state()
    problem(post(**{CONSUMER: one, OTHER: five}), 409)
    assert placement.state() == before
    assert post(**{CONSUMER: one, OTHER: one}).status_code == 204
    # One gives up what the other takes.
    nothing = claim({}, version, generation=1)
    everything = claim({host: {"VCPU": 8}}, version, generation=1)
    assert post(**{CONSUMER: nothing, OTHER: everything}).status_code == 204
    assert placement.get(PATH).json == {"allocations": {}}
    assert placement.get(f"/resource_providers/{host}/usages").json["usages"] == {"VCPU": 8, "MEMORY_MB": 0}
    problem(post(), 400)
    problem(post(x=one), 400, None, "'x'")
    problem(placement.call("POST", "/allocations", {CONSUMER: one}, version="1.12"), 404)


def test_one_consumer_that_changed_refuses_all(placement, host):
    placement.hold(CONSUMER, {host: {"VCPU": 1}})
    before = placement.state()
    both = {CONSUMER: claim({}, generation=7), OTHER: claim({host: {"VCPU": 1}})}
    problem(placement.call("POST", "/allocations", both), 409, "placement.concurrent_update", CONSUMER)
    assert placement.state() == before


def test_usages(placement, host):
    third = "44444444-4444-4444-4444-444444444444"
    placement.hold(CONSUMER, {host: {"VCPU": 2, "MEMORY_MB": 64}})
    placement.hold(third, {host: {"VCPU": 1}}, type_="MIGRATION", user="v")
    placement.put(f"/allocations/{OTHER}", claim({host: {"VCPU": 1}}, "1.12"), version="1.12")

    def used(query, version="1.39"):
        answer = placement.get(f"/usages?{query}", version=version)
        assert answer.status_code == 200, answer.text
        return answer.json["usages"]

    for version in ("1.9", "1.37"):
        assert used("project_id=p", version) == {"VCPU": 4, "MEMORY_MB": 64}
        assert used("project_id=p&user_id=u", version) == {"VCPU": 3, "MEMORY_MB": 64}
        assert used("project_id=p&user_id=none", version) == {}
        assert used("project_id=none", version) == {}
    instance = {"VCPU": 2, "MEMORY_MB": 64, "consumer_count": 1}
    one = {"VCPU": 1, "consumer_count": 1}
    assert used("project_id=p", "1.38") == {"INSTANCE": instance, "MIGRATION": one, "unknown": one}
    assert used("project_id=p&consumer_type=all") == {
        "all": {"VCPU": 4, "MEMORY_MB": 64, "consumer_count": 3}
    }
    assert used("project_id=p&consumer_type=INSTANCE") == {"INSTANCE": instance}
    assert used("project_id=p&consumer_type=unknown") == {"unknown": one}
    assert used("project_id=p&user_id=v&consumer_type=unknown") == {}
    assert used("project_id=p&consumer_type=NONE") == {}
    assert used("project_id=none&consumer_type=all") == {}


@pytest.mark.parametrize(
    ("query", "version", "word"),
    [
        ("", "1.9", "project_id"),
        ("user_id=u", "1.39", "project_id"),
        ("project_id=", "1.39", "project_id"),
        ("project_id=" + "p" * 256, "1.39", "project_id"),
        ("project_id=p&project_id=q", "1.39", "project_id"),
        ("project_id=p&user_id=", "1.39", "user_id"),
        ("project_id=p&consumer_type=all", "1.37", "consumer_type"),
        ("project_id=p&consumer_type=instance", "1.38", "consumer_type"),
        ("project_id=p&consumer_type=", "1.39", "consumer_type"),
        ("project_id=p&consumer_type=" + "T" * 256, "1.39", "consumer_type"),
    ],
)
def test_usages_that_are_refused(placement, query, version, word):
    problem(placement.get(f"/usages?{query}", version=version), 400, None, word)


def test_readers_see_their_own_project(placement):
    from tests.support.identity import OTHER_PROJECT, PROJECT

    for token in ("reader", "member"):
        assert placement.get(f"/usages?project_id={PROJECT}", token=token).status_code == 200
        problem(placement.get(f"/usages?project_id={OTHER_PROJECT}", token=token), 403)
    assert placement.get(f"/usages?project_id={OTHER_PROJECT}", token="service").status_code == 200


def test_usages_of_a_provider(placement, host):
    path = f"/resource_providers/{host}/usages"
    unused = {"resource_provider_generation": 1, "usages": {"VCPU": 0, "MEMORY_MB": 0}}
    assert placement.get(path, version="1.0").json == unused
    placement.hold(CONSUMER, {host: {"VCPU": 3}})
    used = {"resource_provider_generation": 2, "usages": {"VCPU": 3, "MEMORY_MB": 0}}
    assert placement.get(path).json == used
    bare = placement.provider("bare")
    answer = placement.get(f"/resource_providers/{bare}/usages")
    assert answer.json == {"resource_provider_generation": 0, "usages": {}}
