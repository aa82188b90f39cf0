"""The simulated day, small: the same arrivals for everyone, and nobody over-commits."""

from __future__ import annotations

import numpy as np

from benchmarks.simulate import simulate
from benchmarks.simulation import day
from benchmarks.simulation.region import Region


def test_every_policy_meets_the_same_day():
    results = simulate(hosts=60, requests=80, full=0.3, seed=7)
    assert [result.policy for result in results] == [
        "scheduler, all candidates",
        "scheduler, 1,000 candidates",
        "random",
        "first fit",
    ]
    asked = {result.placed + result.refused for result in results}
    assert len(asked) == 1
    starts = {result.readings[0][1] for result in results}
    assert len(starts) == 1
    assert all(len(result.decisions) == 80 for result in results)
    assert all(result.placed > 0 for result in results)


def test_the_scheduler_spreads_where_first_fit_packs():
    spread = {
        result.policy: max(reading.spread for _, reading in result.readings)
        for result in simulate(hosts=60, requests=200, full=0.0, seed=3)
    }
    assert spread["scheduler, all candidates"] < spread["first fit"] / 1.3
    assert spread["random"] < spread["first fit"] / 1.3


def test_residents_fit():
    chance = np.random.default_rng(5)
    capacity = day.capacities(30, chance)
    region = Region(capacity, *day.residents(capacity, 0.9, chance))
    assert (region.free >= 0).all()
    assert 0.6 < region.read().memory <= 0.95


def test_a_day_swings_around_its_busiest_hour():
    hours = np.array([arrival.at // 3_600 for arrival in day.arrivals(4_000, np.random.default_rng(2))])
    assert np.count_nonzero((hours >= 12) & (hours < 16)) > 3 * np.count_nonzero(hours < 4)
