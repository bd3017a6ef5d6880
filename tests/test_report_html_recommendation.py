"""A loader is recommended only where the comparisons with the baseline support it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.records import Foreign, Record, read_records
from bench.render.language import Language, translated
from bench.report.groups import groups
from bench.report.page.advice import advise
from bench.report.page.advised import Advice
from bench.report.tables.part import Part, parts
from bench.stats.comparison import FAMILY_ALPHA, compare_all, paired_log_ratio, paired_ratio
from tests.record_samples import DIGEST, said
from tests.simulated_runs import a_dataset, a_run, a_sweep
from tests.test_statistics import binomial_bounds

CLEAR = {"filesystem": 10.0, "hdf5": 7.0, "mmap": 5.0}


def the_part(records: Sequence[Record]) -> Part:
    (part,) = [part for group in groups(records) for part in parts(group, "filesystem")]
    return part


def the_advice(records: Sequence[Record]) -> Advice:
    (advice,) = advise(the_part(records))
    return advice


def read(advice: Advice, language: Language = "en") -> tuple[str, str, str, str]:
    """What to take, the two sentences, and what they rest on."""
    pick, first, second, basis = (translated(t, language) for t in (advice.pick, *advice.sentences, advice.basis))
    return pick, first, second, basis


def times(records: Sequence[Record], loader: str) -> dict[int, float]:
    """Mean epoch by round, straight from the records."""
    return {r.config.repeat: statistics.fmean(e.wall_s for e in r.epochs) for r in records if r.loader.name == loader}


def waits(records: Sequence[Record], loader: str) -> dict[int, float]:
    """Mean data stall by round."""
    own = {r.config.repeat: r.epochs for r in records if r.loader.name == loader}
    return {number: statistics.fmean(e.fetch_s + e.transfer_s for e in epochs) for number, epochs in own.items()}


def without_result(loader: str, status: str, error: str) -> Record:
    nothing: dict[str, Any] = dict.fromkeys(("store", "cache", "setup", "resources", "digest"))
    return a_run(loader, 0, 1.0, **nothing, epochs=[], status=status, error=error)


def test_the_fastest_of_those_found_faster_is_named_with_its_numbers() -> None:
    records = a_sweep(CLEAR, prepare_s=lambda loader: 12.0 if loader == "mmap" else 1.0)
    advice = the_advice(records)
    pick, first, second, basis = read(advice)
    ours, base = times(records, "mmap"), times(records, "filesystem")
    # All compute equally long, so that stalls with the same computing are the epochs.
    ratio, mean = paired_ratio(ours, base), statistics.fmean(waits(records, "mmap").values())
    assert pick == "mmap" and advice.is_decided
    assert first.startswith(f"On this machine: mmap, since an epoch of mmap waits {mean:.2f} ± ")
    assert first.endswith(
        " s for data, the least of those found faster (mmap, hdf5); its epoch is ".replace(" s", "\N{NO-BREAK SPACE}s")
        + f"{ratio.ratio:.3f} times filesystem's ({ratio.low:.3f} to {ratio.high:.3f})."
    )
    epochs = 12.0 / statistics.fmean(base[number] - ours[number] for number in base)
    assert second == (f"Converting the images takes 12.0\N{NO-BREAK SPACE}s and has paid after {epochs:.1f} epochs.")
    assert basis == (
        "5 rounds; 2 loaders compared with filesystem and not with one another, Holm-corrected. "
        "In 15 of 15 runs nothing shows the state of the cache."
    )
    assert set(advice.runs) == {record.run_id for record in records}
    pick, first, *_ = read(advice, "lv")
    assert first.startswith("Šajā datorā: mmap, jo mmap epoha gaida datus 3,4")
    assert translated(advice.about, "lv") == "digits, ConvNet, silta kešatmiņa"


def test_where_nothing_differs_the_baseline_stays_and_the_smallest_detectable_difference_is_told() -> None:
    names = ("filesystem", "hdf5", "mmap")
    records = a_sweep(dict.fromkeys(names, 6.0), sd=0.02)
    advice = the_advice(records)
    against = compare_all({n: paired_log_ratio(waits(records, n), waits(records, names[0])) for n in names[1:]})
    detectable = max(comparison.detectable or 0 for comparison in against.values())
    pick, first, second, _ = read(advice)
    assert pick == "filesystem" and not advice.is_decided
    limit = f"where a difference of {100 * detectable:.1f}% would most likely have been found."
    assert first.endswith(f"and no loader was found faster, {limit}")
    assert second == "Nothing shows that converting the images would pay."


def test_a_baseline_that_beats_all_is_named_without_a_limit() -> None:
    advice = the_advice(a_sweep({"filesystem": 4.0, "hdf5": 7.0, "mmap": 5.0}))
    pick, first, *_ = read(advice)
    assert pick == "filesystem" and advice.is_decided
    assert first.startswith("On this machine: filesystem, since an epoch of filesystem waits ")
    assert first.endswith(" s for data, and no loader was found faster.".replace(" s", "\N{NO-BREAK SPACE}s"))


def test_a_loader_too_noisy_to_be_told_apart_is_not_recommended() -> None:
    records = a_sweep({"filesystem": 10.0, "mmap": 9.0})
    noise = np.random.default_rng(1).normal(0, 0.9, 5)
    records += [a_run("hdf5", number, 8 * float(np.exp(noise[number]))) for number in range(5)]
    pick, first, *_ = read(the_advice(records))
    assert pick == "mmap" and "the least of those found faster (mmap);" in first


def test_without_enough_rounds_with_the_baseline_nobody_is_recommended() -> None:
    few = a_sweep(CLEAR, rounds=4)
    lame = [r for r in a_sweep(CLEAR) if (r.loader.name, r.config.repeat) != ("filesystem", 2)]
    alone = [*a_sweep({"mmap": 5.0}), without_result("gpu_mmap", "unavailable", "no CUDA device")]
    for records, rounds in ((few, 4), (lame, 4), (a_sweep({"hdf5": 7.0, "mmap": 5.0}), 0), (alone, 0)):
        advice = the_advice(records)
        pick, first, second, basis = read(advice)
        assert pick == "None can be named" and not advice.is_decided
        told = f"No loader is recommended: that takes 5 rounds with filesystem, and there were {rounds} at most."
        assert first == told
        assert second.startswith("The least, which may be chance: an epoch of mmap waits ")
        assert ("No result: gpu_mmap." in basis) == (records is alone)


def test_failed_runs_leave_no_loader() -> None:
    advice = the_advice([without_result("mmap", "failed", "lost"), without_result("hdf5", "failed", "lost")])
    assert read(advice)[1:] == (
        "No loader gave a result.",
        "The table says why for each of them.",
        "No result: hdf5, mmap.",
    )
    assert advice.runs == []


def test_a_loader_that_failed_in_one_round_is_not_compared() -> None:
    records = [r for r in a_sweep(CLEAR) if (r.loader.name, r.config.repeat) != ("hdf5", 2)]
    pick, _, _, basis = read(the_advice(records))
    assert pick == "mmap"
    assert "Too few runs to compare: hdf5." in basis


def test_a_cold_epoch_counts_with_the_opening_that_a_resident_format_pays_at() -> None:
    costs = {"filesystem": 10.0, "memory": 4.0, "mmap": 5.0}
    opening: dict[str, Any] = {"open_s": lambda loader: 3.0 if loader == "memory" else 0.01}
    pick, first, *_ = read(the_advice(a_sweep(costs, config={"cache": "cold"}, **opening)))
    assert pick == "mmap"
    assert "a cold epoch of mmap, with the opening before it, waits" in first
    assert read(the_advice(a_sweep(costs, **opening)))[0] == "memory"


@pytest.mark.parametrize("other", ["filesystem", "mmap"])
def test_where_samples_differ_nobody_is_recommended_and_nobody_blamed(other: str) -> None:
    records = a_sweep(CLEAR, digest=lambda loader: {**DIGEST, "combined": ("a" if loader == other else "b") * 64})
    advice = the_advice(records)
    pick, first, second, _ = read(advice)
    assert pick == "None can be named" and not advice.is_decided
    assert "they trained on different samples" in first
    told = second.removeprefix("Samples by their sha256: ").removesuffix(".").split("; ")
    listed = {part.partition(": ")[0]: set(part.partition(": ")[2].split(", ")) for part in told}
    assert listed == {"a" * 8: {other}, "b" * 8: CLEAR.keys() - {other}}


def test_datasets_and_settings_have_recommendations_of_their_own() -> None:
    other: dict[str, Any] = {"config": {"dataset": "cifar10"}, "dataset": a_dataset("cifar10")}
    records = a_sweep(CLEAR) + a_sweep({"filesystem": 5.0, "hdf5": 9.0, "mmap": 9.0}, seed=1, **other)
    assert {said(advice.about): advice.pick for advice in advise(the_part(records))} == {
        "digits, ConvNet, warm cache": "mmap",
        "cifar10 (synthetic) 50,000/10,000, ConvNet, warm cache": "filesystem",
    }
    records = a_sweep(CLEAR) + a_sweep(CLEAR, seed=1, config={"workers": 2})
    assert [said(advice.about) for advice in advise(the_part(records))] == [
        "digits, ConvNet, warm cache, workers 0",
        "digits, ConvNet, warm cache, workers 2",
    ]


def test_null_sweeps_hardly_ever_name_a_loader_and_a_planted_difference_is_found() -> None:
    """With no true difference, something is found faster or slower with probability FAMILY_ALPHA at most."""
    names = dict.fromkeys(("filesystem", "hdf5", "mmap", "memory"), 6.0)
    null = [the_advice(a_sweep(names, sd=0.02, seed=seed)) for seed in range(80)]
    assert sum(advice.is_decided for advice in null) <= 80 * binomial_bounds(FAMILY_ALPHA, 80)[1]
    costs = {"filesystem": 6.0, "hdf5": 5.7, "mmap": 5.4}
    planted = [the_advice(a_sweep(costs, rounds=10, sd=0.02 / 2**0.5, seed=seed)) for seed in range(20)]
    assert sum(advice.pick == "mmap" for advice in planted) >= 18


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.5, 50), min_size=2, max_size=5),
    st.floats(0.001, 0.3),
    st.integers(3, 8),
    st.integers(0, 2**31),
    st.sets(st.tuples(st.integers(0, 4), st.integers(0, 7)), max_size=12),
)
def test_a_named_loader_is_the_baseline_or_was_found_faster_in_the_main_table(
    costs: list[float], sd: float, rounds: int, seed: int, lost: set[tuple[int, int]]
) -> None:
    names = ("filesystem", "hdf5", "mmap", "memory", "postgres")[: len(costs)]
    records = [
        record
        for record in a_sweep(dict(zip(names, costs, strict=True)), rounds=rounds, sd=sd, seed=seed)
        if (names.index(record.loader.name), record.config.repeat) not in lost
    ]
    if not records:
        return
    advice = the_advice(records)
    verdicts = {cell.label: comparison.verdict for cell, comparison in the_part(records).comparisons.items()}
    faster = {label for label, verdict in verdicts.items() if verdict == "faster"}
    pick, *sentences, _ = read(advice)
    assert pick in (faster or {"filesystem", "None can be named"})
    if pick in faster:
        means = {label: statistics.fmean(waits(records, label).values()) for label in faster}
        assert means[pick] == min(means.values())
    assert all(sentence.endswith(".") for sentence in sentences)


def test_the_committed_cold_run_on_cifar10_is_not_told_to_keep_image_files() -> None:
    """Their epoch waits for data for 22 s of 36 s, and for 0.1 s from a map."""
    found = read_records(Path(__file__).parents[1] / "results" / "cpu")
    records = [item[1] for item in found if not isinstance(item, Foreign)]
    made = {
        said(advice.about): advice
        for group in groups(records)
        for part in parts(group, "filesystem")
        if part.key.command == "run"
        for advice in advise(part)
    }
    cold = [advice for about, advice in made.items() if about.startswith("cifar10") and "cold" in about]
    assert cold
    for advice in cold:
        assert advice.is_decided
        assert said(advice.pick) in ("memory", "mmap"), said(advice.sentences[0])


EMULATED: dict[str, Any] = {
    "config": {"device": "emulated", "accelerator": {"name": "a", "images_per_s": 1000}},
    "environment": {"device": "emulated"},
}


def a_feed(loader: str, number: int, rate: float, prepare_s: float, **changes: Any) -> Record:
    one = {"images_per_s": 1e12, "images": 900, "epoch": 1, "wall_s": 900 / (0.9 * rate)}
    return a_run(loader, number, 5.0, prepare_s=prepare_s, feed={"curve": [], "free": [one], "search": [one]},
                 **{**EMULATED, **changes})  # fmt: skip


def test_an_accelerator_gets_the_soonest_prepared_of_those_that_keep_it_busy() -> None:
    rates = {"filesystem": (500.0, 1.0), "hdf5": (5000.0, 4.0), "mmap": (9000.0, 6.0), "sqlite": (1005.0, 2.0)}
    records = [
        a_feed(loader, number, rate + 20 * (number - 2), prepare_s)
        for loader, (rate, prepare_s) in rates.items()
        for number in range(5)
    ]
    advice = the_advice(records)
    assert said(advice.about) == "digits, emulated accelerator, warm cache"
    pick, first, second, basis = read(advice)
    assert pick == "hdf5"  # the interval of sqlite reaches below what is needed
    assert first == (
        "On this machine: hdf5, the soonest prepared (4.00\N{NO-BREAK SPACE}s) of those that keep this accelerator of "
        "1,000 images/s busy for 90%: hdf5, mmap."
    )
    assert second == "It would feed one of 5,000 images/s; too slow: filesystem, sqlite."
    assert basis == ""
    slow = [record for record in records if record.loader.name == "filesystem"]
    pick, first, second, _ = read(the_advice(slow))
    assert (pick, first) == ("filesystem", "No loader keeps this accelerator of 1,000 images/s busy for 90%.")
    assert second == "filesystem feeds the fastest one, of 500 images/s; preparing it takes 1.00\N{NO-BREAK SPACE}s."
    digests = {"filesystem": "a", "hdf5": "b"}
    apart = [
        a_feed(loader, n, 5000.0, 1.0, digest={**DIGEST, "combined": letter * 64})
        for loader, letter in digests.items()
        for n in range(5)
    ]
    assert "they gave different samples" in read(the_advice(apart))[1]
