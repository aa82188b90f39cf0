"""Allocations: who holds what of which provider, and how that is changed without ever giving out too much.

`ledger` decides, purely in memory, on rows that the transaction holds locked; `writing` reads those rows, writes
what was decided, and lets the database refuse an over-commit once more by a condition; `combiner` lets requests
that come at the same time share a transaction.
"""
