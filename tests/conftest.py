"""Settings for all tests: one thread per process, since pytest-xdist already fills the cores."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch is imported: OpenMP threads that spin against each other make small tests take minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("BENCH_DATA", None)
os.environ.pop("BENCH_POSTGRES_DSN", None)

import pytest
import torch
from hypothesis import settings

from tests.command import Bench

torch.set_num_threads(1)
# How long an example takes says nothing on a machine whose cores are taken.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# A package of its own, which test_plugin.py installs before it runs these.
collect_ignore = ["plugin_example"]


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The command line with folders of its own."""
    monkeypatch.setenv("BENCH_DEBUG", "")  # which --debug sets: the next test shall not have it
    return Bench(tmp_path, capsys, monkeypatch)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a CUDA device where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda") is not None:  # not the id of a parameter
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
