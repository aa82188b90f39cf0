"""Keeps the processes of a plan running: forks them, watches them, starts them again."""
