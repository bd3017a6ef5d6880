"""Every number of every table, computed once more from the records by other means.

The records are drawn ones, those of real runs, and the committed ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from bench.records import Record
from bench.render.table import Column, Row, Table, Value
from bench.report.tables import tables
from tests.command import Bench
from tests.record_samples import a_whole_sweep, notes_of, said
from tests.report_recomputed import (
    NOTHING,
    RUN,
    Document,
    Expected,
    busy,
    epochs_of,
    interval,
    median_speed,
    number,
    over,
    positive,
    ratio,
    seconds,
    time_to,
    total,
    waiting,
)

ALPHA = 0.05
ROOT = Path(__file__).parents[1]


class Sweep:
    """Documents by what a row is about, and the tables made of them."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = [document for document in documents if document["status"] == "ok"]
        trained = [document["config"] for document in documents if document["config"].get("device") != "emulated"]
        self.rounds = len({config["repeat"] for config in trained})
        self.corrected: dict[str, dict[tuple[str, str], float]] = {}
        self.tables = tables([Record.model_validate(document) for document in documents])

    def runs(self, table: Table, row: Row, **changes: str) -> list[Document]:
        """What the row is about, by round, found without the ids that it names; of a summary, by round and kind."""
        wanted = {"command": "run", **self._about(table), **changes}
        wanted |= {"dataset": dataset_of(row), "label": said(row["loader"].text)} | changes
        if "cache" in row.cells:
            wanted["cache"] = said(row["cache"].text)
        found = [d for d in self.documents if wanted.items() <= about(d).items()]
        return sorted(found, key=lambda document: int(document["config"]["repeat"]))

    @staticmethod
    def _about(table: Table) -> dict[str, str]:
        cache = next((cache for cache in ("warm", "cold") if f"-{cache}" in table.key), None)
        if table.key in ("rates", "statistics-rates"):
            return {"command": "rate"}
        if table.kind == "summary":
            return {}
        emulated = "-emulated" in table.key or table.key == "statistics-feed"
        model = {"model": "emulated" if emulated else "convnet"}
        return model if cache is None or table.kind == "cold-warm" else {**model, "cache": cache}


def about(document: Document) -> Document:
    """Its configuration, with the loader's label, and a name for no model."""
    config = document["config"]
    label = " ".join([config["loader"], *(f"{name}={value}" for name, value in config.get("options", {}).items())])
    emulated = config.get("device") == "emulated"
    return {**config, "label": label, "model": "emulated" if emulated else config.get("model", "convnet")}


def dataset_of(row: Row) -> str:
    """Its name, without what tells a twin or a part of it from the whole."""
    return said(row["dataset"].text).partition(" ")[0]


def documents_in(folder: Path) -> list[Document]:
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]


DRAWN = [(0, 5, "cpu"), (1, 10, "cuda"), (2, 1, "cpu")]


@pytest.fixture(scope="module", params=[*DRAWN, "committed"], ids=str)
def sweep(request: pytest.FixtureRequest) -> Sweep:
    if request.param == "committed":
        return Sweep(documents_in(ROOT / "results" / "cpu"))
    return Sweep(a_whole_sweep(*request.param))


def side(table: Table, row: Row, sweep: Sweep, key: str) -> Expected:
    """Cold against warm."""
    cache, _, metric = key.partition("_")
    return over(metric, sweep.runs(table, row, cache=cache))


def paired(ours: Sequence[Document], theirs: Sequence[Document], of: Callable[[Document], Any]) -> Expected:
    return interval([of(a) - of(b) for a, b in zip(ours, theirs, strict=True)])


def pool(table: Table, row: Row, sweep: Sweep) -> dict[int, float]:
    """Mean over all loaders of what is no data stall, by round."""
    own: dict[int, list[float]] = {}
    for other in table.rows:
        if other["dataset"] == row["dataset"] and cache_of(other) == cache_of(row):
            for run in sweep.runs(table, other):
                own.setdefault(run["config"]["repeat"], []).append(seconds(run) - waiting(run))
    return {number: float(np.mean(values)) for number, values in own.items()}


def cache_of(row: Row) -> dict[str, str]:
    """Of a table that has several states of the cache."""
    return {"cache": said(row["cache"].text)} if "cache" in row.cells else {}


def both(table: Table, row: Row, sweep: Sweep) -> tuple[list[float], list[float]]:
    """Data stalls with the computing of their rounds: the row's and the baseline's."""
    mean = pool(table, row, sweep)
    sides = (sweep.runs(table, row), sweep.runs(table, row, label="filesystem"))
    ours, theirs = ([waiting(run) + mean[run["config"]["repeat"]] for run in side] for side in sides)
    return ours, theirs


def corrected_by_holm(raw: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    corrected, worst = {}, 0.0
    for place, key in enumerate(sorted(raw, key=lambda key: raw[key])):
        worst = max(worst, min(1.0, raw[key] * (len(raw) - place)))
        corrected[key] = worst
    return corrected


def p_of(ours: list[float], theirs: list[float]) -> float:
    return float(stats.ttest_rel(np.log(ours), np.log(theirs)).pvalue)


def raw_p_values(sweep: Sweep, cache: str) -> dict[tuple[str, str], float]:
    """For the main table of one state of the cache."""
    main = next(t for t in sweep.tables if t.key == f"main-convnet-{cache}")
    rows = [row for row in main.rows if said(row["loader"].text) != "filesystem" and sweep.runs(main, row)]
    return {(said(row["dataset"].text), said(row["loader"].text)): p_of(*compared(main, row, sweep)) for row in rows}


def p_values(sweep: Sweep, cache: str) -> dict[tuple[str, str], float]:
    """Holm's, once for each state of the cache."""
    if cache not in sweep.corrected:
        sweep.corrected[cache] = corrected_by_holm(raw_p_values(sweep, cache))
    return sweep.corrected[cache]


def waits(table: Table, row: Row, sweep: Sweep) -> tuple[list[float], list[float]]:
    """The row's data stalls and the baseline's."""
    sides = (sweep.runs(table, row), sweep.runs(table, row, label="filesystem"))
    ours, theirs = ([waiting(run) for run in side] for side in sides)
    return ours, theirs


def compared(table: Table, row: Row, sweep: Sweep) -> tuple[list[float], list[float]]:
    """What a verdict is on: stalls, or, where one is not above 0, epochs."""
    ours, theirs = waits(table, row, sweep)
    return (ours, theirs) if min(*ours, *theirs) > 0 else both(table, row, sweep)


def stalls(table: Table, row: Row, sweep: Sweep) -> Expected:
    """Of the stalls, with the interval that belongs to the verdict; without one where there are too few runs."""
    ours, theirs = compared(table, row, sweep)
    if len(ours) < 5:
        return log_ratio(ours, theirs)[0], None, None
    raw = raw_p_values(sweep, table.key.rpartition("-")[2])
    key = said(row["dataset"].text), said(row["loader"].text)
    return log_ratio(ours, theirs, 1 - ALPHA * raw[key] / corrected_by_holm(raw)[key])


def log_ratio(ours: list[float], theirs: list[float], level: float = 0.95) -> Expected:
    """Of the geometric means, by scipy's own test."""
    mean = float(stats.gmean(ours) / stats.gmean(theirs))
    if len(ours) < 3:
        return mean, None, None
    found = stats.ttest_rel(np.log(ours), np.log(theirs)).confidence_interval(level)
    return mean, float(np.exp(found.low)), float(np.exp(found.high))


def computing(table: Table, row: Row, sweep: Sweep) -> Expected:
    """A loader's computing over that of all, judged with the others'."""

    def sides(row: Row) -> tuple[list[float], list[float]]:
        mean, runs = pool(table, row, sweep), sweep.runs(table, row)
        return [seconds(run) - waiting(run) for run in runs], [mean[run["config"]["repeat"]] for run in runs]

    rows = [other for other in table.rows if sweep.runs(table, other)]
    about = {(said(other["dataset"].text), said(other["loader"].text)): sides(other) for other in rows}
    key = said(row["dataset"].text), said(row["loader"].text)
    if sweep.rounds < 5:
        return ratio(*about[key])[0], None, None
    raw = {one: float(stats.ttest_rel(*pair).pvalue) for one, pair in about.items()}
    return ratio(*about[key], 1 - ALPHA * raw[key] / corrected_by_holm(raw)[key])


def detectable(ours: list[float], theirs: list[float], family: int) -> float:
    """By scipy's noncentral t, as a percentage."""
    differences, n = np.log(ours) - np.log(theirs), len(ours)
    threshold = stats.t.isf(ALPHA / family / 2, n - 1)
    noncentrality = optimize.brentq(lambda nc: stats.nct.sf(threshold, n - 1, nc) - 0.95, 0, 100)
    least = noncentrality * differences.std(ddof=1) / n**0.5
    return float(100 * np.expm1(least))


def of_main(table: Table, row: Row, sweep: Sweep, key: str) -> Expected:
    runs = sweep.runs(table, row)
    if key == "runs":
        return float(len(runs)), None, None
    if key == "ratio":
        if said(row["loader"].text) == "filesystem":
            return NOTHING
        return stalls(table, row, sweep)
    if key == "epoch_ratio":
        return NOTHING if said(row["loader"].text) == "filesystem" else log_ratio(*both(table, row, sweep))
    if key == "computing_ratio":
        return computing(table, row, sweep)
    return over(key, runs)


def of_cold_warm(table: Table, row: Row, sweep: Sweep, key: str) -> Expected:
    warm, cold = sweep.runs(table, row, cache="warm"), sweep.runs(table, row, cache="cold")
    if key == "prep_stall_s":
        mean, low, high = over("over_ceiling_s", warm)
    elif key == "fetch_stall_s":
        mean, low, high = paired(cold, warm, total)
    else:
        return side(table, row, sweep, key)
    holds_0 = low is not None and high is not None and low <= 0 <= high
    assert said(row[key].text).startswith("< resolution") == holds_0
    assert mean is not None
    return (mean if holds_0 or mean > 0 else 0.0), low, high


def of_rates(table: Table, row: Row, sweep: Sweep, key: str) -> Expected:
    runs = sweep.runs(table, row)  # within training runs: of both states of the cache
    return (float(len(runs)), None, None) if key == "runs" else over(key, runs)


def of_stages(table: Table, row: Row, sweep: Sweep, key: str) -> Expected:
    found = over(key, sweep.runs(table, row))
    if key == "over_ceiling_s":
        _, low, high = found
        assert said(row[key].text).startswith("< res") == (low is not None and high is not None and low <= 0 <= high)
    return found


def of_cost(table: Table, row: Row, sweep: Sweep, key: str) -> Expected:
    ours, theirs = sweep.runs(table, row), sweep.runs(table, row, label="filesystem")
    prepare = prepared(ours)
    if key == "prepare_s":
        return prepare
    if key not in ("saved_s", "break_even_epochs"):
        return over(key, ours)
    if said(row["loader"].text) == "filesystem":
        return NOTHING
    saved = paired(theirs, ours, waiting)
    if key == "saved_s":
        return saved
    corrected = {} if sweep.rounds < 5 else p_values(sweep, table.key.rpartition("-")[2])
    place = said(row["dataset"].text), said(row["loader"].text)
    if corrected.get(place, 1.0) > ALPHA:
        assert said(row[key].text) == "no saving found"
        return NOTHING
    assert saved[0] is not None
    assert prepare[0] is not None
    assert (said(row[key].text) == "never") == (saved[0] <= 0)
    mean, least, most = (prepare[0] / s if s is not None and s > 0 else None for s in (saved[0], saved[2], saved[1]))
    return mean, least, most


def prepared(runs: Sequence[Document]) -> Expected:
    """Seconds of their stores' preparations, each once."""
    return positive(sorted({run["store"]["prepare_s"] for run in runs}))


def key_of(row: Row) -> tuple[str, str]:
    return said(row["dataset"].text), said(row["loader"].text)


def fed(table: Table, row: Row, sweep: Sweep) -> tuple[list[float], list[float]]:
    """What the baseline is fed at most, and what the row's loader is."""
    base, ours = sweep.runs(table, row, label="filesystem"), sweep.runs(table, row)
    return [median_speed(run, "free") for run in base], [median_speed(run, "free") for run in ours]


def of_feed(table: Table, row: Row, sweep: Sweep, key: str) -> Expected:
    runs = sweep.runs(table, row)
    if key == "runs":
        return float(len(runs)), None, None
    if key.startswith("busy_"):
        return positive([busy(run, float(key.removeprefix("busy_"))) for run in runs])
    if key == "prepare_s":
        return prepared(runs)
    if key in ("au_pct", "stall_s") and not runs[0]["epochs"]:
        return NOTHING
    if key != "ratio":
        return over(key, runs)
    base = sweep.runs(table, row, label="filesystem")
    if said(row["loader"].text) == "filesystem" or not base:
        return NOTHING
    mean, *_ = ratio(*fed(table, row, sweep))
    assert mean is not None
    if len(runs) < 5:
        return 1 / mean, None, None
    cache = "warm" if "-warm" in table.key else "cold"
    same = [(other, each) for other in sweep.tables if f"feed-emulated-{cache}" in other.key for each in other.rows]
    compared = [(t, r) for t, r in same if said(r["loader"].text) != "filesystem" and all(fed(t, r, sweep))]
    raw = {key_of(r): float(stats.ttest_rel(*fed(t, r, sweep)).pvalue) for t, r in compared}
    _, low, high = ratio(*fed(table, row, sweep), 1 - ALPHA * raw[key_of(row)] / corrected_by_holm(raw)[key_of(row)])
    return 1 / mean, None if high is None else 1 / high, None if low is None else 1 / low


def of_summary(table: Table, row: Row, sweep: Sweep, key: str) -> Expected:
    kinds = [(model, cache) for model in ("emulated", "convnet") for cache in ("warm", "cold")]
    fed, fed_cold, warm, cold = (sweep.runs(table, row, model=model, cache=cache) for model, cache in kinds)
    trained = warm or cold
    if key == "prepare_s":
        return prepared([*fed, *trained, *fed_cold])
    if key.startswith("busy_"):
        return positive([busy(run, float(key.removeprefix("busy_"))) for run in fed])
    key, runs = {
        "feed_rate": ("feed_rate", fed), "cold_feed_rate": ("feed_rate", fed_cold),
        "store_bytes": (key, [*fed, *trained, *fed_cold]),
    }.get(key, (key, trained))  # fmt: skip
    return over(key, runs) if runs else NOTHING


def of_setup(table: Table, row: Row, sweep: Sweep, key: str) -> Expected:
    runs = sweep.runs(table, row)
    if key != "time_to_accuracy_s":
        return over(key, runs)
    everyone = [run for other in table.rows if other["dataset"] == row["dataset"] for run in sweep.runs(table, other)]
    target = math.floor(100 * min(epochs_of(run).test_accuracy.max() for run in everyone)) / 100
    assert f"{said(row['dataset'].text)} {target:.2f}" in notes_of(table)[0]
    return positive([time_to(run, target) for run in runs])


def of_statistics(table: Table, row: Row, sweep: Sweep, key: str) -> Expected:
    metric = {"statistics-rates": "loader_rate", "statistics-feed": "feed_rate"}.get(table.key, "epoch_s")
    runs = sweep.runs(table, row)
    values = [number(metric, run) or 0.0 for run in runs]
    n = len(values)
    if key == "runs":
        return float(n), None, None
    if key == "mean":
        return positive(values)
    if key == "sd":
        return (pd.Series(values).std() if n > 1 else None), None, None
    if key == "spread_pct":
        return (100 * stats.variation(values, ddof=1) if n > 1 else None), None, None
    if key == "median":
        limits: tuple[float | None, float | None] = (None, None)
        if n >= 10:
            resampled = stats.bootstrap((values,), np.median, n_resamples=9999, rng=np.random.default_rng(0))
            limits = (float(resampled.confidence_interval.low), float(resampled.confidence_interval.high))
        return float(np.median(values)), *limits
    if key not in ("p", "detectable_pct"):
        return over(key, runs)
    if said(row["loader"].text) == "filesystem" or n < 5:
        return NOTHING
    corrected = p_values(sweep, said(row["cache"].text))
    if key == "p":
        return corrected[said(row["dataset"].text), said(row["loader"].text)], None, None
    return detectable(*compared(table, row, sweep), len(corrected)), None, None


KINDS: dict[str, Callable[[Table, Row, Sweep, str], Expected]] = {
    "summary": of_summary,
    "feed": of_feed,
    "main": of_main,
    "cold-warm": of_cold_warm,
    "rates": of_rates,
    "stages": of_stages,
    "cost": of_cost,
    "resources": lambda table, row, sweep, key: over(key, sweep.runs(table, row)),
    "setup": of_setup,
    "statistics": of_statistics,
}


def compare(value: Value, expected: Expected, where: str) -> None:
    for mine, theirs in zip((value.number, value.low, value.high), expected, strict=True):
        if theirs is None:
            assert mine is None, (where, value, expected)
        else:
            assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-12), (where, value, expected)


def check(sweep: Sweep) -> set[str]:
    """Compare every number; gives the kinds of the tables."""
    seen = set()
    for table in sweep.tables:
        for column in table.columns:
            if column.kind == "number":
                for row in table.rows:
                    where = f"{table.key}: {said(row['dataset'].text)} {said(row['loader'].text)} {column.key}"
                    if sweep.runs(table, row):
                        expected = KINDS[table.kind](table, row, sweep, column.key)
                    else:  # a loader that cannot run here
                        assert row["flags" if table.kind == "statistics" else "remark"].text
                        expected = (0.0, None, None) if column.key == "runs" else NOTHING
                    compare(row[column.key], expected, where)
                    seen.add(table.kind)
    return seen


EMULATED = {"summary", "feed"}


def test_every_number_of_every_table(sweep: Sweep) -> None:
    kinds = {(each["model"], each.get("cache")) for each in map(about, sweep.documents)}
    lacking = set() if {model for model, _ in kinds} >= {"emulated", "convnet"} else EMULATED
    lacking = lacking if ("convnet", "cold") in kinds else {*lacking, "cold-warm"}
    assert check(sweep) == KINDS.keys() - lacking


def test_every_number_of_runs_as_they_are_made_now(bench: Bench) -> None:
    few = ("--limit", "150", "--epochs", "2", "--ceiling-steps", "4", "--rate-batches", "4")
    for loader in ("filesystem", "mmap"):
        done = bench("run", loader, "digits", *few)
        assert done.code == 0, done.err
    assert check(Sweep(documents_in(bench.out))) == KINDS.keys() - {"cold-warm", *EMULATED}


def test_every_row_is_there_once(sweep: Sweep) -> None:
    for table in sweep.tables:
        rows = [row for row in table.rows if sweep.runs(table, row)]
        keys = [(dataset_of(row), said(row["loader"].text), *cache_of(row).values()) for row in rows]
        assert len(set(keys)) == len(keys)
        wanted = {"command": "run", **Sweep._about(table)}.items()
        ran = [every for document in sweep.documents if wanted <= (every := about(document)).items()]
        caches = ["cache"] if any("cache" in row.cells for row in table.rows) else []
        shown = {dataset_of(row) for row in table.rows} if table.kind == "feed" else {each["dataset"] for each in ran}
        works = {
            tuple(each[name] for name in ("dataset", "label", *caches)) for each in ran if each["dataset"] in shown
        }
        if table.kind not in ("rates", "cold-warm"):  # which leave out what has no rate or no epoch
            assert set(keys) == works, table.key


def test_the_runs_behind_every_number_are_named(sweep: Sweep) -> None:
    """A number that is made from the runs that it names alone is the same."""
    by_id = {document["run_id"]: document for document in sweep.documents}
    for table in sweep.tables:
        for row in table.rows:
            for column in table.columns:
                _named(table, row, column, by_id)


def _named(table: Table, row: Row, column: Column, by_id: dict[str, Document]) -> None:
    value = row[column.key]
    assert set(value.runs) <= by_id.keys()
    if column.kind == "text" or not value.number:
        return
    assert value.runs, (table.key, column.key)
    configs = [by_id[run]["config"] for run in value.runs]
    assert {config["dataset"] for config in configs} == {dataset_of(row)}
    compared = column.key in ("ratio", "epoch_ratio", "saved_s", "break_even_epochs", "verdict")
    if column.key != "computing_ratio":  # which is against all
        mine = {said(row["loader"].text)} | ({"filesystem"} if compared else set())
        assert {about(by_id[run])["label"] for run in value.runs} == mine
    if column.key in RUN:
        assert value.number == pytest.approx(over(column.key, [by_id[run] for run in value.runs])[0])


def test_verdicts_follow_from_the_numbers(sweep: Sweep) -> None:
    for table in sweep.tables:
        if table.kind == "main":
            corrected = {} if sweep.rounds < 5 else p_values(sweep, table.key.rpartition("-")[2])
            for row in table.rows:
                assert said(row["verdict"].text) == (_verdict(row, corrected) if sweep.runs(table, row) else "")


def _verdict(row: Row, corrected: dict[tuple[str, str], float]) -> str:
    if said(row["loader"].text) == "filesystem":
        return "baseline"
    p = corrected.get((said(row["dataset"].text), said(row["loader"].text)))
    if p is None:
        return "too few runs"
    if p > ALPHA:
        return "no difference found"
    assert row["ratio"].number is not None
    return "slower" if row["ratio"].number > 1 else "faster"
