"""All tables of a report, made from records and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from bench.records import Record
from bench.render.table import Table
from bench.report.groups import NO_MODEL, Group, groups
from bench.report.tables.coldwarm import cold_against_warm
from bench.report.tables.cost import cost
from bench.report.tables.feed import feed
from bench.report.tables.main import main
from bench.report.tables.part import Part, parts
from bench.report.tables.rates import rates
from bench.report.tables.simple import resources, setup, stages
from bench.report.tables.statistics import statistics
from bench.report.tables.summary import summary

BASELINE = "filesystem"


def tables(records: Iterable[Record], baseline: str = BASELINE, mix: bool = False) -> list[Table]:
    """Make all tables that the records allow, for each environment, or by ``mix`` of all together with a warning.

    The others are compared with the ``baseline``, a loader by its name or with its options.
    """
    made = groups(records, mix)
    whole = [table for group in made for table in _of_group(group, baseline) if table is not None]
    return [*summary(made), *whole]


def _of_group(group: Group, baseline: str) -> Iterator[Table | None]:
    every = parts(group, baseline)
    trained = [part for part in every if part.key.command == "run"]
    for part in trained:
        if part.key.model == NO_MODEL:
            yield from feed(part)
        else:
            yield main(part)
    yield from cold_against_warm(group)
    yield from rates(group)
    with_epochs = [part for part in map(_with_epochs, trained) if part.cells]
    for build in (stages, cost, resources, setup):
        own = trained if build is cost else with_epochs
        yield from map(build, own if trained else every)
    yield from statistics(group, every)


def _with_epochs(part: Part) -> Part:
    """Without the cells of emulated accelerators that have slices alone."""
    return dataclasses.replace(part, cells=[c for c in part.cells if any(run.epochs for run in part.done(c))])
