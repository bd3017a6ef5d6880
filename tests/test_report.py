"""Tables hold what may be compared, and say what is wrong with it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.records import Foreign, Record, read_records
from bench.render.table import Row, Table
from bench.report.groups import groups
from bench.report.page.subject import facts
from bench.report.tables import tables
from bench.report.tables.main import main
from bench.report.tables.part import parts
from tests.record_samples import (
    DATASET,
    DIGEST,
    ENVIRONMENT,
    GPU,
    STORE,
    a_record,
    a_whole_document,
    an_epoch,
    notes_of,
    said,
)

V1 = Path(__file__).parent / "data" / "records-v1"


def main_of(records: list[Record], **options: Any) -> Table:
    (table,) = (table for table in tables(records, **options) if table.kind == "main")
    return table


def row(table: Table, **texts: str) -> Row:
    """The one row with these texts."""
    (found,) = (row for row in table.rows if all(said(row[key].text) == text for key, text in texts.items()))
    return found


def loaders(table: Table) -> set[str]:
    return {said(row["loader"].text) for row in table.rows}


def runs_of(loader: str, seconds: list[float], **changes: Any) -> list[Record]:
    """One run a round, of one epoch each, which waits for data and computes nothing."""
    config = changes.pop("config", {})
    return [
        a_record(
            loader,
            run_id=f"{loader}{n}",
            config={**config, "repeat": n},
            epochs=[an_epoch(wall_s=s, fetch_s=s, compute_s=0.0, other_s=0.0)],
            **changes,
        )
        for n, s in enumerate(seconds)
    ]


def flags_of(records: list[Record], loader: str = "mmap") -> str:
    (table,) = (table for table in tables(records) if table.kind == "statistics")
    return said(row(table, loader=loader)["flags"].text)


# What shares a table


UNLIKE: list[dict[str, Any]] = [
    *({key: "another"} for key in ("cpu", "cores", "ram_bytes", "system", "kernel", "python", "governor", "storage")),
    {"packages": {**ENVIRONMENT["packages"], "torch": "2.12.0"}},
    {"packages": {**ENVIRONMENT["packages"], "h5py": "3.11.0"}},
    {"affinity": [0]},
    {"virtual": True},
    {"device": "cuda", "gpu": GPU},
    {"gpu": {**GPU, "driver": "2.0"}, "device": "cuda"},
]


def test_records_of_unlike_machines_share_a_table_by_wish_alone_and_with_a_warning() -> None:
    for change in UNLIKE:
        records = [a_record(), a_record("hdf5", environment=change), a_record("memory")]
        made = tables(records)
        assert all(loaders(table) in ({"mmap", "memory"}, {"hdf5"}) for table in made), change
        assert len({table.environment for table in made}) == len({table.group for table in made}) == 2, change
        assert len({table.key for table in made}) == len(made), change
        assert loaders(main_of(records, mix=True)) == {"mmap", "hdf5", "memory"}, change
        for table in tables(records, mix=True):
            (warning,) = (n for n in notes_of(table) if n.startswith("2 different environments are mixed here: "))
            assert all(key in warning for key in change if key != "packages"), change
    for table in tables([a_record()], mix=True):
        assert not any("different environments" in note for note in notes_of(table))


def test_versions_of_a_loader_s_own_packages_keep_no_records_apart() -> None:
    """Records of other loaders do not name them; the page does."""
    own = {"packages": {**ENVIRONMENT["packages"], "lmdb": "1.7.5"}}
    records = [a_record(), a_record("lmdb", environment=own)]
    assert loaders(main_of(records)) == {"mmap", "lmdb"}
    (group,) = groups(records)
    assert any("numpy 2.1.0, lmdb 1.7.5" in said(text) for _, text in facts(group))


def test_a_virtual_machine_s_memory_may_grow_within_a_table() -> None:
    """A hypervisor gives and takes it while a sweep runs; every other field keeps records apart."""
    grown = [{"virtual": True, "ram_bytes": size * 10**9} for size in (16, 24, 64)]
    made = tables([a_record(name, environment=e) for name, e in zip(("mmap", "hdf5", "memory"), grown, strict=True)])
    for table in made:
        assert loaders(table) == {"mmap", "hdf5", "memory"}
        assert not any("mixed" in note for note in notes_of(table))
    (epochs,) = (table for table in made if table.kind == "main")
    assert "the machine's RAM was not always the same: 16, 24, 64 GB" in notes_of(epochs)
    assert len({table.environment for table in tables([a_record(), a_record(environment=grown[0])])}) == 2


def test_machines_of_one_name_are_told_apart() -> None:
    titles = {said(table.environment) for table in tables([a_record(), a_record(environment={"kernel": "6.2"})])}
    assert titles == {f"Some CPU, 8 cores, 64 GB of RAM, torch 2.11.0 (kernel {kernel})" for kernel in ("6.1", "6.2")}


def test_mixed_machines_pair_within_each() -> None:
    """Round 0 of one machine is no pair of round 0 of another."""
    slow = {"cpu": "Slow CPU"}
    records = [
        *runs_of("filesystem", [1.0, 1.1]),
        *runs_of("mmap", [0.5, 0.55]),
        *runs_of("filesystem", [1.6, 1.7], environment=slow),
        *runs_of("mmap", [0.8, 0.85], environment=slow),
    ]
    ratio = row(main_of(records, mix=True), loader="mmap")["epoch_ratio"]
    assert (ratio.number, ratio.low, ratio.high) == pytest.approx((0.5, 0.5, 0.5))


def test_models_and_states_of_the_cache_stand_apart() -> None:
    changes: list[dict[str, Any]] = [{}, {"cache": "cold"}, {"model": "resnet18"}, {"cache": "as-is"}]
    made = [t for t in tables([a_record(config=change) for change in changes]) if t.kind == "main"]
    assert [table.key for table in made] == [
        "main-convnet-warm",
        "main-convnet-cold",
        "main-convnet-as-is",
        "main-resnet18-warm",
    ]
    assert [len(table.rows) for table in made] == [1] * 4
    assert [table.label for table in made] == [f"tab:{table.key}" for table in made]


def test_unlike_settings_have_rows_of_their_own_that_say_so() -> None:
    shown = {"epochs": 9, "batch_size": 9, "workers": 9, "prefetch": 9, "lr": 0.9, "amp": True}
    for setting, value in shown.items():
        table = main_of([a_record("filesystem"), a_record(), a_record(config={setting: value})])
        assert [said(row["loader"].text) for row in table.rows] == ["filesystem", "mmap", "mmap"], setting
        assert setting in [column.key for column in table.shown]
        found = row(table, loader="mmap", **{setting: str(value).lower()})
        assert found["ratio"].number is None, "the baseline has other settings"
        assert notes_of(table).count("no run of filesystem to compare with: digits, mmap") == 1, setting


def test_threads_are_those_that_pytorch_had() -> None:
    table = main_of([a_record(), a_record(environment={"threads": 2})])
    assert [said(row["threads"].text) for row in table.rows] == ["2", "8"]


def test_settings_that_all_share_stand_in_the_caption() -> None:
    table = main_of([a_record(config={"prefetch": 2, "workers": 4})])
    about = (
        "ConvNet, warm cache, SGD with Nesterov momentum on a one-cycle schedule, epochs 3, batch size 128, workers 4"
    )
    assert f"{about}, threads 8, learning rate 0.1, prefetch 2." in said(table.caption)
    assert "Some CPU, 8 cores" in said(table.caption)


def test_repetitions_share_a_row() -> None:
    for change in ({"seed": 5}, {"repeat": 3}):
        assert row(main_of([a_record(), a_record(config=change)]), loader="mmap")["runs"].number == 2, change


def test_a_run_that_was_repeated_counts_once_and_is_told() -> None:
    late = a_record(epochs=[an_epoch(wall_s=3.0)], started_at="2026-02-01T00:00:00+00:00")
    lost = a_record(status="failed", error="lost", started_at="2026-03-01T00:00:00+00:00")
    table = main_of([late, a_record(), lost])
    assert (row(table)["runs"].number, row(table)["epoch_s"].number) == (1, 3.0)
    assert "2 records are superseded by another record of the same run" in notes_of(table)


def test_commits_and_uncommitted_changes_are_told() -> None:
    git = [{"commit": letter * 40, "clean": letter == "a"} for letter in "ab"]
    notes = notes_of(main_of([a_record(environment={"git": g}, config={"repeat": n}) for n, g in enumerate(git)]))
    assert "these records were made by 2 commits: aaaaaaaaaa, bbbbbbbbbb" in notes
    assert "the tree had changes that were not committed, at bbbbbbbbbb" in notes


def test_options_and_datasets_have_rows_of_their_own() -> None:
    cut = {**DATASET, "limit": 64, "train": 64, "test": 64}
    records = [
        a_record(),
        a_record(config={"options": {"threads": 2, "encoding": "jpeg"}}),
        a_record(config={"limit": 64}, dataset=cut),
        a_record(config={"dataset": "cifar10"}, dataset={**DATASET, "synthetic": True, "official": False}),
        a_record(config={"dataset": "cifar10"}, dataset={**DATASET, "official": False}),
    ]
    assert {(said(row["dataset"].text), said(row["loader"].text)) for row in main_of(records).rows} == {
        ("digits", "mmap"),
        ("digits", "mmap encoding=jpeg threads=2"),
        ("digits 64/64", "mmap"),
        ("cifar10 (synthetic) 1,437/360", "mmap"),
        ("cifar10 (not official)", "mmap"),
    }


def test_images_that_differ_never_go_by_one_name() -> None:
    table = main_of([a_record(), a_record("hdf5", dataset={**DATASET, "fingerprint": "e" * 64})])
    names = [said(row["dataset"].text) for row in table.rows]
    assert len(set(names)) == 2
    assert all(name.startswith("digits ") for name in names)


# What did not run


def without_results(loader: str, status: str, error: str, **changes: Any) -> Record:
    nothing: dict[str, Any] = dict.fromkeys(("store", "cache", "setup", "resources", "digest"))
    return a_record(loader, status=status, error=error, epochs=[], **{**nothing, **changes})


def test_a_loader_that_did_not_run_is_a_row_with_its_reason() -> None:
    records = [a_record(), without_results("gpu_mmap", "unavailable", "no CUDA device", dataset=None)]
    found = row(main_of(records), loader="gpu_mmap", dataset="digits")
    assert (found["runs"].number, said(found["remark"].text)) == (0, "unavailable: no CUDA device")
    assert all(found[column.key].is_empty for column in main_of(records).columns if column.key not in _NAMED)
    assert flags_of(records, "gpu_mmap") == "unavailable: no CUDA device"


_NAMED = ("dataset", "loader", "runs", "remark")


def test_failures_are_counted_apart_and_told_once() -> None:
    lost = [a_record(status="failed", error="lost", config={"repeat": i}, epochs=[an_epoch(wall_s=99)]) for i in (1, 2)]
    found = row(main_of([a_record(), *lost]), loader="mmap")
    assert (found["runs"].number, found["epoch_s"].number, said(found["remark"].text)) == (1, 2.0, "failed: lost")
    assert "2 of 3 runs failed (failed: lost)" in flags_of([a_record(), *lost])


# Samples


def digest(letter: str) -> dict[str, str]:
    return {**DIGEST, "combined": letter * 64}


def samples(records: list[Record]) -> dict[str, str]:
    return {said(row["loader"].text): said(row["digest"].text) for row in main_of(records).rows}


def test_loaders_that_gave_different_samples_are_told() -> None:
    same = [a_record(name, digest=digest("a")) for name in ("filesystem", "mmap", "hdf5")]
    assert set(samples(same).values()) == {"agree"}
    other = [*same[:2], a_record("hdf5", digest=digest("b"))]
    differ = {"filesystem": "differ (aaaaaaaa)", "mmap": "differ (aaaaaaaa)", "hdf5": "differ (bbbbbbbb)"}
    assert samples(other) == differ
    assert (
        "samples differ, so these rows do not compare; by their sha256: "
        "aaaaaaaa: digits, filesystem, digits, mmap; bbbbbbbb: digits, hdf5"
    ) in notes_of(main_of(other))
    assert "samples differ between loaders (bbbbbbbb)" in flags_of(other, "hdf5")
    assert "samples differ between loaders (aaaaaaaa)" in flags_of(other, "mmap")


def test_no_majority_and_no_name_decides_whose_samples_are_right() -> None:
    for letters in ("aab", "abb", "ab", "ba", "abc"):
        given = dict(zip(("filesystem", "hdf5", "mmap"), letters, strict=False))
        records = [a_record(name, digest=digest(letter)) for name, letter in given.items()]
        assert samples(records) == {name: f"differ ({letter * 8})" for name, letter in given.items()}


def test_another_seed_gives_another_digest_and_no_alarm() -> None:
    """The digest is taken in the order of the seed, so a loader with fewer seeds has fewer of them."""
    records = [a_record("mmap", config={"seed": seed}, digest=digest("ab"[seed])) for seed in (0, 1)]
    assert samples([*records, a_record("hdf5", config={"seed": 1}, digest=digest("b"))]) == {
        "mmap": "agree",
        "hdf5": "agree",
    }


def test_a_loader_that_contradicts_itself_is_told_and_alone_there_is_nothing_to_agree_with() -> None:
    records = [a_record("mmap", config={"repeat": n}, digest=digest("aab"[n])) for n in range(3)]
    assert samples(records) == {"mmap": "differ (aaaaaaaa, bbbbbbbb)"}
    assert samples([a_record("mmap")]) == {"mmap": ""}


# Comparisons


def verdicts(slowdown: float, seed: int) -> dict[str, str]:
    """Of a simulated sweep of ten rounds: six loaders, paired sd 2%, and one of them slower."""
    rng = np.random.default_rng(seed)
    drift = rng.normal(0, 0.1, 10)
    records: list[Record] = []
    for loader in ("filesystem", "mmap", "hdf5", "postgres", "memory", "slow"):
        cost = slowdown if loader == "slow" else 1.0
        seconds = 10 * cost * np.exp(drift + rng.normal(0, 0.02 / math.sqrt(2), 10))
        records += runs_of(loader, seconds.tolist())
    (part,) = parts(groups(records)[0], "filesystem")
    table = main(part)
    assert table is not None
    return {said(row["loader"].text): said(row["verdict"].text) for row in table.rows}


SWEEPS = 25
"""Of so many, seven false alarms come by chance once in ten thousand times, at the 5% that a table may have."""


def alarms(found: list[dict[str, str]], guilty: str = "") -> int:
    """Sweeps in which a loader that costs what the baseline does is found to differ."""
    innocent = [{verdict for name, verdict in each.items() if name != guilty} for each in found]
    return sum(bool(verdicts - {"baseline", "no difference found"}) for verdicts in innocent)


def test_a_planted_slowdown_is_found_and_nothing_else() -> None:
    found = [verdicts(1.05, seed) for seed in range(SWEEPS)]
    assert sum(each["slow"] == "slower" for each in found) >= 0.9 * SWEEPS
    assert alarms(found, guilty="slow") <= 6


def test_a_sweep_without_differences_raises_no_alarm() -> None:
    assert alarms([verdicts(1.0, seed) for seed in range(SWEEPS)]) <= 6


def test_the_table_says_what_it_could_have_found() -> None:
    records = [*runs_of("filesystem", [1.0, 1.01, 0.99, 1.02, 1.0]), *runs_of("mmap", [1.0, 1.0, 1.0, 1.01, 1.0])]
    (note,) = (note for note in notes_of(main_of(records)) if "comparisons; each would" in note)
    (statistics,) = (table for table in tables(records) if table.kind == "statistics")
    detectable = row(statistics, loader="mmap")["detectable_pct"].number
    assert detectable is not None
    assert note == (
        f"1 comparisons; each would most likely (95%) have found a slowdown of {detectable:.1f}% to {detectable:.1f}%, "
        "by its runs"
    )


def test_rounds_pair_whatever_order_they_ran_in() -> None:
    records = [*runs_of("filesystem", [1.0, 1.2, 1.4]), *reversed(runs_of("mmap", [0.5, 0.6, 0.7]))]
    found = row(main_of(records), loader="mmap")
    ratio = found["epoch_ratio"]
    assert (ratio.number, ratio.low, ratio.high) == pytest.approx((0.5, 0.5, 0.5))
    assert found["ratio"].number == pytest.approx(0.5)
    assert found["ratio"].low is None  # too few for a verdict


def test_the_baseline_is_a_choice() -> None:
    records = [*runs_of("filesystem", [2.0, 2.0]), *runs_of("mmap", [1.0, 1.0])]
    table = main_of(records, baseline="mmap")
    assert row(table, loader="filesystem")["ratio"].number == pytest.approx(2.0)
    assert [said(r["loader"].text) for r in table.rows if r.baseline] == ["mmap"]


def test_a_baseline_with_options_is_named_with_them() -> None:
    threads = {"config": {"options": {"threads": 2}}}
    records = [a_record("filesystem"), a_record("filesystem", **threads), a_record()]
    for name in ("filesystem", "filesystem threads=2"):
        assert [said(r["loader"].text) for r in main_of(records, baseline=name).rows if r.baseline] == [name]
    only = [a_record("filesystem", **threads), a_record()]
    assert [said(r["loader"].text) for r in main_of(only).rows if r.baseline] == ["filesystem threads=2"]


# Cost


def break_even(ours: list[float], prepare_s: float = 12.0) -> Any:
    records = [
        *runs_of("filesystem", [3.0, 3.1, 2.9, 3.0, 3.0][: len(ours)]),
        *runs_of("mmap", ours, store={**STORE, "prepare_s": prepare_s}),
    ]
    (table,) = (table for table in tables(records) if table.kind == "cost")
    return row(table, loader="mmap")["break_even_epochs"]


def test_break_even_is_preparation_over_saving_and_has_no_upper_limit_where_the_saving_may_be_none() -> None:
    found = break_even([1.0, 1.1, 0.9, 1.05, 0.95])
    assert found.number == pytest.approx(6.0)
    assert 0 < found.low < found.number < found.high
    unknown = [1.0], [1.0, 2.9, 3.1, 2.0, 3.5], [3.0, 3.1, 2.9, 3.0, 3.0]  # too few runs, too much noise, no saving
    for ours in unknown:
        assert (said(break_even(ours).text), break_even(ours).number) == ("no saving found", None)
    slower = break_even([4.0, 4.1, 3.9, 4.0, 4.0])
    assert (said(slower.text), slower.number) == ("never", None)


# Flags


def whole(**changes: Any) -> Record:
    return Record.model_validate(a_whole_document(np.random.default_rng(0), **changes))


def a_ceiling(seconds: float) -> dict[str, Any]:
    return {"batch_size": 1, "block_steps": [1], "block_s": [1.0], "epoch_s": seconds}


def five(**changes: Any) -> list[Record]:
    """Five runs that nothing is to be said against but what is asked for."""
    rng = np.random.default_rng(0)
    quiet = {"wall_s": 2.0, "fetch_s": 0.5, "compute_s": 1.4, "other_s": 0.1, "transfer_s": 0.0}
    calm = {**quiet, "others_cpu_s": 0.0, "stolen_cpu_s": 0.0, **changes.pop("epoch", {})}
    usual = {
        "epochs": [an_epoch(**calm)],
        "ceiling": a_ceiling(1.9),
    }
    return [
        Record.model_validate(a_whole_document(rng, config={"repeat": n}, **{**usual, **changes})) for n in range(5)
    ]


CUDA: dict[str, Any] = {"energy_j": None, "cpu_s": {}, "memory": {}}
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("others used up to 6.0% of the cores, in 5 of 5 runs", {"epoch": {"others_cpu_s": 0.96}}),
    ("the hypervisor kept up to 6.0% of the cores, in 5 of 5 runs", {"epoch": {"stolen_cpu_s": 0.96}}),
    ("up to 5.0% of an epoch in no part, in 5 of 5 runs", {"epoch": {"other_s": 0.0}}),
    ("loss not finite in 5 of 5 runs", {"epoch": {"train_loss": math.nan}}),
    (
        "throttled in 5 of 5 runs (power cap)",
        {"resources": {**CUDA, "gpu": {"throttled": {"power cap": 0.5}}}},
    ),
    (
        "timing took up to 5.0% of an epoch, in 5 of 5 runs",
        {"resources": {**CUDA, "gpu": None, "sampling": {"stopwatch_s": 0.1}}},
    ),
    (
        "ceiling above the epoch by up to 50.0%, in 5 of 5 runs",
        {"ceiling": a_ceiling(3.0)},
    ),
]


def test_a_fault_is_flagged_and_marked_and_nothing_else_is() -> None:
    assert flags_of(five()) == ""
    assert row(main_of(five()))["epoch_s"].mark == ""
    for flag, change in FAULTS:
        assert flags_of(five(**change)) == flag
        table = main_of(five(**change))
        assert row(table)["epoch_s"].mark == "‡", flag
        assert "‡ flagged; the table of statistics says why" in notes_of(table), flag


def test_few_runs_and_a_wide_spread_are_flagged() -> None:
    flags = flags_of(runs_of("mmap", [1.0, 1.3, 0.9]))
    assert "fewer than 5 runs" in flags
    assert "spread of 19.5%" in flags


def test_a_cache_that_is_not_verified_is_marked_with_its_reason() -> None:
    cache = {"wanted": "cold", "state": "unverified", "evidence": None, "reason": "40.0% of the store stayed in memory"}
    table = main_of([*five(cache=cache), whole(loader="hdf5", config={"cache": "warm"})])
    assert row(table, loader="mmap")["epoch_s"].mark == "†"
    assert "† cache not verified (40.0% of the store stayed in memory): digits, mmap" in notes_of(table)
    assert "cache not verified in 5 of 5 runs (40.0% of the store stayed in memory)" in flags_of(five(cache=cache))


def test_what_the_runs_flag_themselves_is_told_once_a_cell() -> None:
    records = runs_of("mmap", [1.0, 1.0], flags=["epoch 0: odd"])
    (table,) = (table for table in tables(records) if table.kind == "statistics")
    assert notes_of(table).count("digits, mmap: epoch 0: odd") == 1


def test_a_stall_below_nothing_is_clipped_counted_and_told() -> None:
    gpu = {"device": "cuda", "gpu": GPU}
    records = [
        a_record(config={"device": "cuda", "repeat": n}, environment=gpu, ceiling=a_ceiling(seconds))
        for n, seconds in enumerate([1.0, 3.0, 4.0])
    ]
    (table,) = (table for table in tables(records) if table.kind == "stages")
    assert row(table)["stall_s"].number == pytest.approx(1 / 3)
    assert row(table)["stall_s"].mark == "§"
    assert row(table)["over_ceiling_s"].number == pytest.approx((1 - 1 - 2) / 3)
    assert "§ clipped at 0 in 2 of 3 runs: digits, mmap" in notes_of(table)


# Older records


def test_a_table_of_version_1_lacks_what_they_lack() -> None:
    found = [item[1] for item in read_records(V1) if not isinstance(item, Foreign)]
    assert {record.schema_version for record in found} == {1}
    made = {table.kind: table for table in tables(found)}
    assert row(made["main"])["epoch_s"].number == pytest.approx(15.795646221666667)
    assert row(made["main"])["epoch_s"].mark == "†‡"
    assert row(made["stages"])["ceiling_s"].is_empty
    assert "ceiling_s" not in [column.key for column in made["stages"].shown]
    assert "resources" not in made


def test_groups_keep_every_run_and_number_their_rounds() -> None:
    records = [*runs_of("mmap", [1.0, 2.0]), *runs_of("hdf5", [1.0, 2.0])]
    (group,) = groups(records)
    assert sum(len(members) for members in group.cells.values()) == 4
    for runs in group.runs.values():
        assert list(runs) == [0, 1]
    for cell in group.cells:
        assert group.by_round(cell, lambda record: record.epochs[0].wall_s) == {0: 1.0, 1: 2.0}
