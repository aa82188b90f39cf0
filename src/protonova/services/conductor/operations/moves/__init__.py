"""Moves of servers between hosts of the cell: resize and cold migration with their two ends, live migration,
evacuation. See docs/moves.md for what each does step by step and what becomes of it when it fails."""
