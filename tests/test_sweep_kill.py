"""A sweep killed at random moments: nothing torn, nothing repeated, nothing left behind, and in the end all done."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from bench.records import Foreign, Record, read_records
from bench.run.stores import prepare, spec_of
from bench.sources.registry import open_source
from tests.forked import started
from tests.sweeps import all_gone, fork_jobs, make_twin, state, write

KILLS = 12
"""In all. A sweep whose processes are forked plans, makes its store and does its runs in a few seconds."""


class Series:
    """One sweep after another into the same folder, each killed."""

    def __init__(self, folder: Path, seed: int, longest_s: float, block: str) -> None:
        self.folder, self.out = folder, folder / "out"
        self.out.mkdir(parents=True)
        make_twin(folder / "data")
        self.file = write(folder / "some.toml", block, repeats=2)
        self._chance, self._longest_s = random.Random(seed), longest_s
        self._seen: dict[Path, tuple[int, int]] = {}

    def work(self) -> None:
        """Kill some, then let one end."""
        for _ in range(KILLS // 2):
            moment = self._chance.uniform(0, self._longest_s)
            with self._started() as process, contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=moment)
            assert all_gone(str(self.folder)) == [], f"after {moment:.2f} s"
            self._look()
        with self._started() as process:
            printed, _ = process.communicate(timeout=250)
        assert process.returncode == 0, printed
        self._look()

    def records(self) -> list[Record]:
        """All of them; there is no file that is none."""
        found = []
        for item in read_records(self.out):
            assert not isinstance(item, Foreign), item
            found.append(item[1])
        return found

    def _look(self) -> None:
        """Every record is whole, and those that were seen before are the same files, untouched."""
        found = {path: state(path) for path in self.out.glob("*.json")}
        assert len(self.records()) == len(found)
        assert {path: found.get(path) for path in self._seen} == self._seen
        self._seen = found

    def _started(self) -> AbstractContextManager[subprocess.Popen[Any]]:
        variables = {**os.environ, "BENCH_DATA": str(self.folder / "data")}
        return started("sweep", self.file, "--out", self.out, stderr=subprocess.STDOUT, env=variables)


def test_killed_at_random_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fork_jobs(monkeypatch)
    workers = Series(tmp_path / "workers", 1, 4.0, 'loader = "memory"\ndataset = "cifar10"\nworkers = 2')
    server = Series(tmp_path / "server", 2, 4.0, 'loader = "postgres"\ndataset = "cifar10"')
    # Here the moments fall into runs and between them; there, into the making of the store.
    data = workers.folder / "data"
    prepare(spec_of("memory", open_source("cifar10", data), {}, 16, data / "stores")[0])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Series.work, (workers, server)))
    for series in (workers, server):
        assert [record.status for record in series.records()] == ["ok", "ok"]
        assert not list(series.out.glob(".*.partial"))
