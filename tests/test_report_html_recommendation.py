"""A loader is recommended only where the comparisons support it, and for as many epochs as its conversion takes."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from bench.report.page.recommendation import Candidate, Recommendation, recommend
from bench.report.page.words import Words
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.records import Record
from bench.render.table import Language
from bench.report.groups import groups
from bench.report.page.advice import Advice, advise
from bench.report.tables.part import Part, digests, parts
from bench.stats.comparison import FAMILY_ALPHA, compare_all, paired_ratio
from tests.record_samples import DIGEST
from tests.simulated_runs import a_dataset, a_run, a_sweep


def the_parts(records: Sequence[Record], language: Language = "en") -> list[tuple[Part, Any]]:
    return [
        (part, digests(group))
        for group in groups(records, language=language)
        for part in parts(group, "filesystem", language)
    ]


def the_recommendation(records: Sequence[Record]) -> Recommendation:
    ((part, given_digests),) = the_parts(records)
    (made,) = recommend(part, given_digests)
    return made


def the_advice(records: Sequence[Record], language: Language = "en") -> Advice:
    ((part, given_digests),) = the_parts(records, language)
    (made,) = advise(part, given_digests, Words(language))
    return made


def loaders(candidates: Sequence[Candidate]) -> list[str]:
    return [candidate.cell.loader for candidate in candidates]


def times(records: Sequence[Record], loader: str) -> dict[int, float]:
    """Mean epoch by round, straight from the records."""
    return {r.config.repeat: statistics.fmean(e.wall_s for e in r.epochs) for r in records if r.loader.name == loader}


def without_result(loader: str, status: str, error: str) -> Record:
    nothing: dict[str, Any] = dict.fromkeys(("store", "cache", "setup", "resources", "digest"))
    return a_run(loader, 0, 1.0, **nothing, epochs=[], status=status, error=error)


CLEAR = {"filesystem": 10.0, "hdf5": 7.0, "mmap": 5.0}


def test_a_clear_winner_is_named_with_its_numbers() -> None:
    records = a_sweep(CLEAR, prepare_s=lambda loader: 12.0 if loader == "mmap" else 1.0)
    made, told = the_recommendation(records), the_advice(records)
    assert (made.outcome, loaders(made.best), loaders(made.slower)) == ("winner", ["mmap"], ["hdf5", "filesystem"])
    ours, base = times(records, "mmap"), times(records, "filesystem")
    saved = statistics.fmean(base[r] - ours[r] for r in base)
    assert made.break_even == math.ceil(12.0 / saved) == 3
    ratio = paired_ratio(ours, base)
    assert ratio.ratio is not None and ratio.low is not None and ratio.high is not None
    mean = statistics.fmean(ours.values())
    assert told.pick == "mmap" and told.is_decided
    assert told.sentences[0].startswith(
        f"For 3 epochs or more on this machine: mmap, since an epoch of mmap takes {mean:.2f} ±"
    )
    assert (
        f"{ratio.ratio:.3f} times filesystem's (95% interval {ratio.low:.3f} to {ratio.high:.3f}), "
        "and every other loader compared was found slower."
    ) in told.sentences[0]
    assert told.sentences[1] == (
        "Converting the images for mmap takes 12.0\N{NO-BREAK SPACE}s and pays from 3 epochs on; "
        "for fewer, filesystem is done sooner."
    )
    assert (
        told.basis
        == "5 rounds; 3 pairs compared, Holm-corrected. In 15 of 15 runs nothing shows the state of the cache."
    )
    assert set(told.runs) == {record.run_id for record in records}


def test_the_ratio_is_judged_as_in_the_main_table() -> None:
    records = a_sweep(CLEAR)
    ((part, given_digests),) = the_parts(records)
    (made,) = recommend(part, given_digests)
    assert made.ratio == part.comparisons[made.best[0].cell]


def test_where_nothing_differs_the_baseline_stays_and_the_smallest_detectable_difference_is_told() -> None:
    names = ("filesystem", "hdf5", "mmap")
    records = a_sweep(dict.fromkeys(names, 6.0), sd=0.02)
    made, told = the_recommendation(records), the_advice(records)
    assert (made.outcome, loaders(made.best), sorted(loaders(made.equal))) == (
        "baseline",
        ["filesystem"],
        ["hdf5", "mmap"],
    )
    against = compare_all({n: paired_ratio(times(records, n), times(records, "filesystem")) for n in names[1:]})
    among = compare_all({"": paired_ratio(times(records, "hdf5"), times(records, "mmap"))})
    detectable = max(c.detectable or 0 for c in (*against.values(), *among.values()))
    assert made.detectable == pytest.approx(detectable)
    assert told.pick == "filesystem" and not told.is_decided
    limit = f"where a difference of {100 * detectable:.1f}% would most likely have been found."
    assert told.sentences[0].endswith(f"and no loader was found faster, {limit}")
    assert told.sentences[1] == "Nothing shows that converting the images would pay."


def test_a_baseline_that_beats_all_is_named_without_a_limit() -> None:
    told = the_advice(a_sweep({"filesystem": 4.0, "hdf5": 7.0, "mmap": 5.0}))
    assert told.pick == "filesystem" and told.is_decided
    assert told.sentences[0].startswith("For any number of epochs on this machine: filesystem, since")
    assert told.sentences[0].endswith("and no loader was found faster.")


def test_of_two_that_do_not_differ_that_which_pays_first_leads() -> None:
    costs = {"filesystem": 10.0, "hdf5": 8.0, "mmap": 5.0, "memory": 5.0}
    records = a_sweep(costs, prepare_s=lambda loader: {"memory": 1.0, "mmap": 9.0}.get(loader, 2.0))
    made, told = the_recommendation(records), the_advice(records)
    assert (made.outcome, loaders(made.best), made.break_even) == ("several", ["memory", "mmap"], 1)
    assert told.pick == "memory or mmap"
    assert "and between memory and mmap no difference was found, where a difference of " in told.sentences[0]
    assert told.sentences[1].endswith("pays from the first epoch on.")
    swapped = a_sweep(costs, prepare_s=lambda loader: {"memory": 60.0, "mmap": 9.0}.get(loader, 2.0))
    assert loaders(the_recommendation(swapped).best) == ["mmap", "memory"]


def test_a_loader_too_noisy_to_be_told_apart_is_not_passed_over() -> None:
    """It was not found faster than the baseline, so it is not recommended; nor was it found slower than the best."""
    records = a_sweep({"filesystem": 10.0, "mmap": 5.0})
    noise = np.random.default_rng(1).normal(0, 0.6, 5)
    records += [a_run("hdf5", number, 6 * float(np.exp(noise[number]))) for number in range(5)]
    made = the_recommendation(records)
    assert (made.outcome, loaders(made.best), loaders(made.equal)) == ("several", ["mmap"], ["hdf5"])
    assert "between mmap and hdf5 no difference was found" in the_advice(records).sentences[0]


def in_rounds(costs: dict[str, dict[int, float]]) -> list[Record]:
    """Runs of these rounds alone, with hardly any noise."""
    rng = np.random.default_rng(0)
    return [
        a_run(loader, number, cost * float(np.exp(rng.normal(0, 0.003))))
        for loader, rounds in costs.items()
        for number, cost in rounds.items()
    ]


def test_a_preparation_that_runs_share_counts_once() -> None:
    records = a_sweep({"filesystem": 10.0}) + [
        a_run("mmap", number, 8.0, prepare_s=2.0 if number < 4 else 12.0) for number in range(5)
    ]
    made = the_recommendation(records)
    saved = statistics.fmean(times(records, "filesystem")[n] - 8.0 for n in range(5))
    assert made.break_even == math.ceil(7.0 / saved) != math.ceil(4.0 / saved)


def test_faster_than_faster_is_faster() -> None:
    """The best and the baseline share too few rounds, but both share enough with a third."""
    records = in_rounds(
        {
            "filesystem": dict.fromkeys(range(6), 10.0),
            "hdf5": dict.fromkeys(range(10), 7.0),
            "mmap": dict.fromkeys(range(4, 10), 5.0),
        }
    )
    made = the_recommendation(records)
    assert made.ratio is not None and made.ratio.verdict == "too few runs"
    assert (made.outcome, loaders(made.best), loaders(made.slower)) == ("winner", ["mmap"], ["hdf5", "filesystem"])


def test_comparisons_over_different_rounds_cannot_contradict_one_another() -> None:
    """Over shared rounds alone each of the three would be slower than another; the means have one order."""
    early, middle, late = range(6), range(6, 12), range(12, 18)
    records = in_rounds(
        {
            "hdf5": {**dict.fromkeys(early, 5.0), **dict.fromkeys(late, 7.0)},
            "mmap": {**dict.fromkeys(early, 7.0), **dict.fromkeys(middle, 5.0)},
            "memory": {**dict.fromkeys(middle, 7.0), **dict.fromkeys(late, 5.0)},
        }
    )
    made = the_recommendation(records)
    assert (made.outcome, made.pairs, made.slower) == ("several", 3, [])
    assert sorted(loaders(made.best)) == ["hdf5", "memory", "mmap"]


def test_one_loader_alone() -> None:
    records = [*a_sweep({"mmap": 5.0}), without_result("gpu_mmap", "unavailable", "no CUDA device")]
    made, told = the_recommendation(records), the_advice(records)
    assert (made.outcome, loaders(made.best), [cell.loader for cell in made.lost]) == ("alone", ["mmap"], ["gpu_mmap"])
    assert told.pick == "None can be named" and not told.is_decided
    assert told.sentences[0] == "Only mmap gave a result, so that there is nothing to compare it with."
    assert told.sentences[1].startswith("In the mean, an epoch of mmap takes ")
    assert "No result: gpu_mmap." in told.basis


def test_failed_runs_leave_no_loader() -> None:
    records = [without_result("mmap", "failed", "lost"), without_result("hdf5", "failed", "lost")]
    told = the_advice(records)
    assert told.sentences == ("No loader gave a result.", "The table says why for each of them.")
    assert (told.basis, told.runs) == ("No result: hdf5 and mmap.", [])


def test_four_rounds_support_no_claim() -> None:
    made, told = the_recommendation(a_sweep(CLEAR, rounds=4)), the_advice(a_sweep(CLEAR, rounds=4))
    assert (made.outcome, loaders(made.best)) == ("too few runs", ["mmap", "hdf5", "filesystem"])
    assert told.pick == "None can be named"
    assert told.sentences[0] == (
        "No loader is recommended: that takes 5 rounds or more to compare, and there were 4 at most."
    )
    assert told.sentences[1].startswith("By its mean mmap was the fastest, since an epoch of mmap takes ")
    assert (made.pairs, told.basis) == (0, "In 12 of 12 runs nothing shows the state of the cache.")


def test_a_baseline_with_too_few_rounds_supports_no_claim() -> None:
    records = [r for r in a_sweep(CLEAR) if (r.loader.name, r.config.repeat) != ("filesystem", 2)]
    made = the_recommendation(records)
    assert (made.outcome, made.rounds) == ("too few runs", 4)


def test_a_loader_that_failed_in_one_round_is_not_compared() -> None:
    records = [r for r in a_sweep(CLEAR) if (r.loader.name, r.config.repeat) != ("hdf5", 2)]
    made = the_recommendation(records)
    assert (made.outcome, loaders(made.best), loaders(made.untested)) == ("winner", ["mmap"], ["hdf5"])
    assert "Too few runs to compare: hdf5." in the_advice(records).basis


def test_without_a_baseline_the_winner_is_named_and_no_break_even() -> None:
    told = the_advice(a_sweep({"hdf5": 7.0, "mmap": 5.0}))
    assert told.pick == "mmap"
    assert told.sentences[0].startswith("On this machine: mmap, since an epoch of mmap takes ")
    assert "times" not in told.sentences[0]
    assert told.sentences[1] == (
        "From how many epochs on converting pays is not known, since the baseline filesystem gave no result."
    )


def test_a_cold_epoch_counts_with_the_opening_that_a_resident_format_pays_at() -> None:
    config = {"cache": "cold"}
    costs = {"filesystem": 10.0, "memory": 4.0, "mmap": 5.0}
    opening = {"memory": 3.0}
    records = a_sweep(costs, config=config, open_s=lambda loader: opening.get(loader, 0.01))
    made = the_recommendation(records)
    assert (made.metric.key, made.outcome, loaders(made.best)) == ("total_s", "winner", ["mmap"])
    assert "a cold epoch of mmap, with the opening before it, takes" in the_advice(records).sentences[0]
    warm = a_sweep(costs, open_s=lambda loader: opening.get(loader, 0.01))
    assert loaders(the_recommendation(warm).best) == ["memory"]


@pytest.mark.parametrize("other", ["filesystem", "mmap"])
def test_where_samples_differ_nobody_is_recommended_and_nobody_blamed(other: str) -> None:
    records = a_sweep(CLEAR, digest=lambda loader: {**DIGEST, "combined": ("a" if loader == other else "b") * 64})
    made, told = the_recommendation(records), the_advice(records)
    assert made.outcome == "samples differ" and not told.is_decided
    assert told.pick == "None can be named"
    assert "did not train on the same samples" in told.sentences[0]
    listed = {part.partition(": ")[0]: set(part.partition(": ")[2].split(", ")) for part in made.samples.split("; ")}
    assert listed == {"a" * 8: {other}, "b" * 8: CLEAR.keys() - {other}}
    assert made.samples in told.sentences[1]


def test_datasets_have_recommendations_of_their_own() -> None:
    records = a_sweep(CLEAR)
    other = a_dataset("cifar10")
    records += a_sweep(
        {"filesystem": 5.0, "hdf5": 9.0, "mmap": 9.0}, seed=1, config={"dataset": "cifar10"}, dataset=other
    )
    ((part, given_digests),) = the_parts(records)
    made = {r.cell.dataset.split()[0]: loaders(r.best) for r in recommend(part, given_digests)}
    assert made == {"digits": ["mmap"], "cifar10": ["filesystem"]}
    abouts = [advice.about for advice in advise(part, given_digests, Words("en"))]
    assert abouts == ["digits, ConvNet, warm cache", "cifar10 (synthetic) 50,000/10,000, ConvNet, warm cache"]


def test_settings_that_vary_tell_recommendations_apart() -> None:
    records = a_sweep(CLEAR) + a_sweep(CLEAR, seed=1, config={"workers": 2})
    ((part, given_digests),) = the_parts(records)
    abouts = [advice.about for advice in advise(part, given_digests, Words("en"))]
    assert abouts == ["digits, ConvNet, warm cache, workers 0", "digits, ConvNet, warm cache, workers 2"]


def test_latvian() -> None:
    told = the_advice(a_sweep(CLEAR), "lv")
    assert told.sentences[0].startswith("Jebkuram epohu skaitam šajā datorā: mmap, jo mmap epoha ilgst 4,9")
    assert told.about == "digits, ConvNet, silta kešatmiņa"


def test_null_sweeps_hardly_ever_name_a_loader() -> None:
    """With no true difference, something is found faster or slower with probability 2 FAMILY_ALPHA at most."""
    names = dict.fromkeys(("filesystem", "hdf5", "mmap", "memory"), 6.0)
    made = [the_recommendation(a_sweep(names, sd=0.02, seed=seed)) for seed in range(150)]
    converted = sum(m.outcome != "baseline" for m in made)
    assert converted <= 3 + 150 * FAMILY_ALPHA
    assert sum(bool(m.slower) for m in made) <= 3 + 150 * 2 * FAMILY_ALPHA


def test_a_planted_difference_is_found() -> None:
    costs = {"filesystem": 6.0, "hdf5": 5.7, "mmap": 5.4}
    made = [the_recommendation(a_sweep(costs, rounds=10, sd=0.02 / 2**0.5, seed=seed)) for seed in range(40)]
    assert sum(m.outcome == "winner" and loaders(m.best) == ["mmap"] for m in made) >= 36


@settings(max_examples=60)
@given(
    st.lists(st.floats(0.5, 50), min_size=2, max_size=5),
    st.floats(0.001, 0.3),
    st.integers(3, 8),
    st.integers(0, 2**31),
    st.sets(st.tuples(st.integers(0, 4), st.integers(0, 7)), max_size=12),
)
def test_every_loader_is_in_one_place_and_a_named_one_is_the_fastest_by_its_mean(
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
    made = the_recommendation(records)
    assert sorted(loaders(made.candidates)) == sorted({record.loader.name for record in records})
    for one, other in itertools.combinations((made.best, made.equal, made.slower, made.untested), 2):
        assert not {c.cell for c in one} & {c.cell for c in other}
    if made.outcome == "winner":
        (best,) = made.best
        for slower in made.slower:
            assert best.interval.mean < slower.interval.mean
    if made.outcome in ("winner", "several") and made.baseline is not None:
        assert made.baseline in made.slower
    advice = the_advice(records)
    assert all(sentence.endswith(".") for sentence in advice.sentences)
