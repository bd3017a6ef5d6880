"""A recommendation in two sentences, with what it rests on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from bench.render.language import translated
from bench.report.groups import Cell, varying
from bench.report.page.recommendation import Candidate, Recommendation, recommend
from bench.report.page.words import Words
from bench.report.tables.assemble import setting_name, short
from bench.report.tables.flags import is_unverified
from bench.report.tables.part import Digests, Part
from bench.stats.intervals import MIN_RUNS, Interval


@dataclasses.dataclass(frozen=True)
class Advice:
    """What a reader sees of a recommendation.

    Attributes:
        about: dataset, model, cache state, and the settings that vary beside them.
        pick: the loaders to take, or that there are none.
        sentences: two.
        basis: how many rounds and comparisons it rests on, and what could not be compared.
        is_decided: whether anything was found faster or slower.
        runs: ids of all runs behind it.
    """

    about: str
    pick: str
    sentences: tuple[str, str]
    basis: str
    is_decided: bool
    runs: Sequence[str]


def advise(part: Part, given: Digests, words: Words) -> list[Advice]:
    """Sentences for each recommendation of one network and cache state; ``given`` tells who gave which samples."""
    made = recommend(part, given)
    names = varying(recommendation.cell for recommendation in made)
    return [
        Advice(
            about=_about(part, r.cell, names, words),
            pick=_pick(r, words),
            sentences=_sentences(r, part.baseline, words),
            basis=_basis(part, r, words),
            is_decided=r.outcome in ("winner", "several") or bool(r.slower),
            runs=r.runs,
        )
        for r in made
    ]


def _about(part: Part, cell: Cell, names: Sequence[str], words: Words) -> str:
    settings = [f"{translated(setting_name(name), words.language)} {cell.setting(name)}" for name in names]
    return ", ".join([*(translated(text, words.language) for text in (cell.dataset, short(part))), *settings])


def _pick(made: Recommendation, words: Words) -> str:
    if made.outcome in ("winner", "several", "baseline"):
        return words.listed(_labels(made.best), "or")
    return words["no_pick"]


def _sentences(made: Recommendation, baseline: str, words: Words) -> tuple[str, str]:
    if made.outcome == "nothing":
        return words["nothing"], words["nothing_why"]
    best = made.best[0]
    if made.outcome == "samples differ":
        return words["samples differ"], words.fill(
            "samples_differ_by", samples=translated(made.samples, words.language)
        )
    if made.outcome == "alone":
        first = words.fill("alone", best=best.cell.label)
        return first, words.fill("alone_cost", cost=_cost(made, words))
    if made.outcome == "too few runs":
        first = words.fill(made.outcome, needed=MIN_RUNS, rounds=made.rounds)
        return first, words.fill("by_mean", best=best.cell.label, cost=_cost(made, words))
    left = [*made.best, *made.equal]
    first = words.fill(
        made.outcome,
        epochs=_epochs(made, words),
        best=words.listed(_labels(made.best), "or"),
        cost=_cost(made, words),
        left=words.listed(_labels(left), "and"),
        limit=_limit(made, words),
    )
    return first, words["no_need"] if made.outcome == "baseline" else _conversion(made, baseline, words)


def _labels(candidates: Sequence[Candidate]) -> list[str]:
    return [candidate.cell.label for candidate in candidates]


def _epochs(made: Recommendation, words: Words) -> str:
    if made.break_even is None and made.outcome != "baseline":
        return words["machine"]
    if made.break_even is None or made.break_even == 1:
        return words["any_epochs"]
    return words.fill("from_epochs", count=made.break_even)


def _cost(made: Recommendation, words: Words) -> str:
    """Seconds with their interval, and the ratio to the baseline where there is one."""
    best = made.best[0]
    text = words.fill(made.metric.key, loader=best.cell.label, time=words.seconds(best.interval))
    ratio = made.ratio.ratio if made.ratio else None
    if ratio is None or ratio.ratio is None or ratio.low is None or ratio.high is None or made.baseline is None:
        return text
    low, middle, high = (
        words.number(value, ",.3f") if math.isfinite(value) else "∞" for value in (ratio.low, ratio.ratio, ratio.high)
    )
    return f"{text}, {words.fill('times', ratio=middle, low=low, high=high, baseline=made.baseline.cell.label)}"


def _limit(made: Recommendation, words: Words) -> str:
    """The smallest difference that would most likely have been found, where none was."""
    if made.detectable is None or not math.isfinite(made.detectable):
        return ""
    return words.fill("limit", percent=words.number(100 * made.detectable, ",.1f"))


def _conversion(made: Recommendation, baseline: str, words: Words) -> str:
    best = made.best[0]
    if made.baseline is None:
        return words.fill("pays_unknown", missing=words.fill("no_baseline", name=baseline))
    if best.prepare_s is None or made.break_even is None:
        return words.fill("pays_unknown", missing=words["no_prepare" if best.prepare_s is None else "no_saving"])
    return words.fill(
        "pays_at_once" if made.break_even == 1 else "pays",
        first=best.cell.label,
        time=words.seconds(Interval(best.prepare_s, None, None, 1)),
        count=made.break_even,
        baseline=made.baseline.cell.label,
    )


def _basis(part: Part, made: Recommendation, words: Words) -> str:
    """Rounds and comparisons, and what stands against them."""
    parts = [words.fill("basis", rounds=made.rounds, pairs=made.pairs)] if made.pairs else []
    lists = {
        "untested": _labels(made.untested),
        "lost": [cell.label for cell in made.lost],
    }
    parts += [words.fill(name, list=words.listed(labels, "and")) for name, labels in lists.items() if labels]
    done = [record for candidate in made.candidates for record in part.done(candidate.cell)]
    if doubtful := sum(map(is_unverified, done)):
        parts.append(words.fill("unverified", count=doubtful, total=len(done)))
    return " ".join(parts)
