"""The loader contract for ``npy``: forty tests for the price of a fixture."""

from __future__ import annotations

import pytest

from loaders.testing import Case, LoaderContract


class TestNpy(LoaderContract):
    @pytest.fixture(
        params=[Case("npy", {}, thorough=True, goes_on=False), Case("npy", {}, "jpeg", goes_on=False)], ids=str
    )
    def case(self, request: pytest.FixtureRequest) -> Case:
        found: Case = request.param
        return found
