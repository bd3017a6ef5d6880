"""The contract for ``npy``: thirty tests for the price of a list of cases."""

from __future__ import annotations

from loaders.testing import Case, FormatContract


class TestNpy(FormatContract):
    cases = (Case("npy", thorough=True), Case("npy", source="jpeg"))
