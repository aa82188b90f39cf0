"""Protonova, an independent OpenStack Compute."""

__version__ = "0.1.0"
