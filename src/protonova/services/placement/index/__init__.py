"""The in-memory index of all providers, and the search for allocation candidates in it."""
