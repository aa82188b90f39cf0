"""Decisions alone: `python -m benchmarks --only scheduler`.

What is measured is the scheduler's own part of a decision, from the hosts placement named to one of them with two
alternates, by the filters and weighers that are enabled by default, in this process; and what its view of the hosts
takes. Placement's part, and the way there, are measured elsewhere.
"""
