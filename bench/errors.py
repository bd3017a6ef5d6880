"""Errors of the harness that a user can act on: one sentence with the mistake and the remedy."""

from __future__ import annotations


class BenchError(Exception):
    """A run, a dataset or a record that failed for a reason the user can mend."""


class UsageError(BenchError):
    """A wrong name or option: exit code 2."""


class DataError(BenchError):
    """Official files that are missing, damaged or not what they claim to be."""
