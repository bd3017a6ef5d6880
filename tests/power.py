"""Whether sweeps find what is really there: a busy wait planted into a format's data path, and nothing into its equals.

Run by ``scripts/power``. Each sweep has ten rounds of four runs on an emulated accelerator, in turns: a baseline, the
same once more, and the same with a wait of 5% and of 10% of a batch's time. What is judged is what a report judges.
"""

from __future__ import annotations

import argparse
import functools
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from bench.config import RunConfig
from bench.records import Record, write_record
from bench.report.groups import groups
from bench.report.metrics import METRICS
from bench.report.tables.part import parts
from bench.run.runner import steps_of
from bench.run.stores import StoreSpec, silent
from bench.sources.registry import open_source
from bench.stats.comparison import FAMILY_ALPHA
from loaders import Format, Indices, Payloads, Reader, Rows, load
from loaders.core.options import read_option

PLANTED = (0.0, 0.0, 0.05, 0.10)
"""Of the baseline, its equal, and the two that are slower: share of a batch's time that is waited for."""
ROUNDS, SWEEPS, BATCH = 10, 40, 128
FOUND, FALSE = 0.95, 0.05
"""Least share of sweeps in which each planted wait must be found, and largest share with a false alarm."""

_say = functools.partial(print, flush=True)


class Late(Reader):
    """Another reader, which takes a little longer."""

    def __init__(self, reader: Reader, wait_s: float) -> None:
        self.labels, self._reader, self._wait_s = reader.labels, reader, wait_s

    def fetch(self, indices: Indices) -> Rows | Payloads:
        fetched = self._reader.fetch(indices)
        end = time.perf_counter() + self._wait_s
        while time.perf_counter() < end:
            pass
        return fetched

    def close(self) -> None:
        self._reader.close()


def planted(name: str) -> type[Format[Any]]:
    """The format of that name with a wait in its data path, as a loader of its own over a store of its own."""
    kind = load(name)

    class Options(kind.Options):  # type: ignore[name-defined, misc]
        variant: int = read_option(0, description="Tells equal ones apart.")
        wait_us: float = read_option(0.0, description="Waited for in each batch.")

    def open_(self: Any, store: Any, split: str) -> Reader:
        return Late(kind.open(self, store, split), self.options.wait_us / 1e6)

    return type("Planted", (kind,), {"name": f"planted-{name}", "Options": Options, "open": open_})


def sweep(
    kind: type[Format[Any]], number: int, batch_s: float, data: Path, out: Path, limit: int, slices: int
) -> list[Record]:
    """Do all runs of one sweep; ``batch_s`` is the time of a batch of which shares are planted."""
    records = []
    source = open_source("cifar10", data)
    for repeat in range(ROUNDS):
        waiting = {}
        for variant, share in enumerate(PLANTED):
            options = {"variant": variant, "wait_us": round(1e6 * share * batch_s, 3)}
            spec = StoreSpec(kind, kind.Options.model_validate(options), source, limit, data / "stores")
            config = RunConfig(
                loader=kind.name, options=options, dataset="cifar10", limit=limit, batch_size=BATCH, repeat=repeat,
                device="emulated", accelerator=1e6, epochs=1, rate_batches=0, feed_slices=slices, slice_batches=20,
                seed=number,
            )  # fmt: skip
            waiting[variant] = steps_of(config, spec, silent, lambda _: None)
        chance = random.Random(f"{number} {repeat}")
        order = list(waiting)
        chance.shuffle(order)
        for variant in order:
            next(waiting[variant])
        while waiting:
            variant = chance.choice(list(waiting))
            try:
                next(waiting[variant])
            except StopIteration as end:
                del waiting[variant]
                records.append(end.value)
                write_record(end.value, out / f"sweep-{number:02}")
    return records


def main() -> int:
    """Do the sweeps and count; 1 if a planted wait was missed or none found too often."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--loader", default="mmap")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("results/runs/power"))
    parser.add_argument("--sweeps", type=int, default=SWEEPS)
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--slices", type=int, default=35)
    asked = parser.parse_args()
    kind = planted(asked.loader)
    source = open_source("cifar10", asked.data_dir)
    if source.missing():
        source.make_twin(1.0, lambda *_: None)

    fed, batch_s = METRICS["free_rate"].of, 1e-4
    found, false, estimates = dict.fromkeys(PLANTED[2:], 0), 0, []
    for number in range(-1, asked.sweeps):  # the first one tells how long a batch takes
        started = time.perf_counter()
        records = sweep(kind, number + 1, batch_s, asked.data_dir, asked.out / asked.loader, asked.limit, asked.slices)
        base = [fed(record) for record in records if record.config.options["variant"] == 0]
        batch_s = BATCH / statistics.fmean(rate for rate in base if rate)
        if number < 0:
            continue
        (group,) = groups(records)
        (part,) = parts(group, next(cell.label for cell in group.cells if "variant=0" in cell.label))
        told = []
        for cell, comparison in part.compared("free_rate").items():
            variant = int(cell.options.partition("variant=")[2][0])
            share, ratio = PLANTED[variant], comparison.ratio.ratio or 1.0
            told.append(f"{share:.0%}: {ratio - 1:+.2%} ({comparison.verdict}, p {comparison.p:.4f})")
            if share:
                found[share] += comparison.verdict == "slower"
            else:
                false += comparison.verdict != "no difference found"
                estimates.append(ratio - 1)
        seconds = time.perf_counter() - started
        _say(f"sweep {number + 1}: {'; '.join(sorted(told))}; a batch in {batch_s * 1e6:.0f} us; {seconds:.0f} s")
    spread = statistics.stdev(estimates) if len(estimates) > 1 else float("nan")
    _say(f"{asked.loader}: at {FAMILY_ALPHA:g} a family, of {asked.sweeps} sweeps")
    for share, count in found.items():
        _say(f"  {share:.0%} planted: found in {count}")
    _say(f"  nothing planted: a difference found in {false}; estimates with sd {spread:.2%}")
    return int(min(found.values()) < FOUND * asked.sweeps or false > FALSE * asked.sweeps)


if __name__ == "__main__":
    sys.exit(main())
