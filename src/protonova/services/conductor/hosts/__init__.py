"""Hosts of the cell: what their agents report, what operators decide, what the scheduler is told."""
