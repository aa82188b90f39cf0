"""Aggregates of hosts: their rows, the zones they make, and their mirror in placement."""
