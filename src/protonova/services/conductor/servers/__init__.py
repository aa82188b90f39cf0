"""Servers as the cell database keeps them: writing, finding, listing, watching."""
