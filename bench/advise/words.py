"""Says an advice: a table, a recommendation, the commands, and the lines for one's own program."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from bench.advise.advise import Advice
from bench.advise.trial import Trial
from bench.config import RunConfig
from bench.run.stores import StoreSpec


def table(advice: Advice) -> Table:
    """All candidates, the best first."""
    shown = Table("loader", "read by", title="Expected for the whole data, from a sample", title_justify="left")
    emulated = advice.trials[0].feed_rate is not None
    fed = ("busy, %", "feed rate, images/s") if emulated else ("rate, images/s",)
    for heading in ("epoch, s", "waiting, %", *fed, "prepare, s", "disk, MB", "pays from epoch"):
        shown.add_column(heading, justify="right")
    for trial in advice.trials:
        pays = trial.break_even(advice.baseline)
        rates = [f"{trial.rate:,.0f}"]
        if trial.feed_rate is not None:
            rates = [f"{advice.busy_percent(trial):.0f}", f"{trial.feed_rate:,.0f}"]
        shown.add_row(
            trial.candidate.label,
            trial.way.words or "this process",
            _epoch(trial),
            f"{100 * trial.stall_s / trial.epoch_s.mean:.1f}",
            *rates,
            f"{trial.prepare_s:,.1f}",
            f"{trial.store_bytes / 1e6:,.1f}",
            "" if pays is None else f"{pays:,.1f}",
        )
    return shown


def sentences(advice: Advice, config: RunConfig, spec: StoreSpec, dataset: str) -> Iterator[str]:
    """Everything after the table, line by line; ``spec`` is the recommended loader over the whole data."""
    best, base, emulated = advice.trials[0], advice.baseline, config.accelerator
    trained = config.model if emulated is None else emulated.words
    yield (
        f"For {advice.epochs} epochs of {trained} at batch {config.batch_size} on this machine: "
        f"{best.candidate.label}, read by {best.way.words or 'the training process'}. "
        f"Expected is an epoch of {_epoch(best)} s, of which {best.stall_s:,.2f} s waiting for data; "
        f"{'the network' if emulated is None else 'computing'} alone takes {advice.ceiling_s:,.1f} s. "
        f"Preparing takes about {best.prepare_s:,.0f} s and {best.store_bytes / 1e6:,.0f} MB."
    )
    if emulated is not None:
        others = "" if base is None or base is best else f"; image files do at {advice.busy_percent(base):.0f}%"
        yield f"{best.candidate.label} feeds {emulated.words} at {advice.busy_percent(best):.0f}%{others}."
    if (pays := best.break_even(base)) is not None:
        yield f"Against image files it pays from {pays:,.1f} epochs on."
    yield from (f"- {note}" for note in advice.notes)
    yield from (f"- {candidate.label} could not be tried: {why}" for candidate, why in advice.refused)
    if advice.untried:
        yield f"- no time was left for: {', '.join(candidate.label for candidate in advice.untried)}; raise --budget"
    yield ""
    yield from _to_paste(best, config, spec, dataset)


def _to_paste(best: Trial, config: RunConfig, spec: StoreSpec, dataset: str) -> Iterator[str]:
    """The two commands that do it, and lines for a training script."""
    options = [f"--option {name}={value}" for name, value in best.candidate.options.items()]
    source = [f"--{name.replace('_', '-')} {value}" for name, value in config.source.items()]
    what = " ".join([best.candidate.loader, shlex.quote(dataset), *options, *source])
    store, side = spec.location, config.image_size
    size = "" if side is None else f" --image-size {side}"
    yield f"bench prepare {what}"
    accelerator = config.accelerator
    device = f"--model {config.model}" if accelerator is None else f"--device emulated --accelerator {accelerator.name}"
    yield f"bench run {what} {device} --batch-size {config.batch_size}{size} {best.way.words}".rstrip()
    yield ""
    if store.is_relative_to(Path.cwd()):
        store = store.relative_to(Path.cwd())
    shape = spec.source.splits()["train"].shape or (3, side, side)
    size = "" if side is None else f", size={side}"
    how = "".join(f", {name}={value}" for name, value in best.way.given.items())
    yield "import loaders"
    yield f'dataset = loaders.open_dataset("{store}", "train"{size})'
    yield f"for images, labels in loaders.make_loader(dataset, batch_size={config.batch_size}{how}):"
    yield f"    ...  # uint8 [B, {shape[0]}, {shape[1]}, {shape[2]}], int64 [B]"


def _epoch(trial: Trial) -> str:
    mean, low, high = trial.epoch_s.mean, trial.epoch_s.low, trial.epoch_s.high
    return f"{mean:,.2f}" if low is None or high is None else f"{mean:,.2f} [{low:,.2f}, {high:,.2f}]"
