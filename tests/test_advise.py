"""Advice rests on what was measured, and its commands and lines work as they stand."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path

import pytest
import torch

from bench.advise.advise import Advice, advise
from bench.advise.candidates import Candidate, Way, candidates
from bench.advise.trial import Bench as Trials
from bench.advise.trial import Trial
from bench.advise.words import table
from bench.config import RunConfig
from bench.sources.digits import Digits
from bench.sources.folder import Folder, survey
from bench.stats.intervals import positive_interval
from loaders.testing import RaggedSamples
from tests.command import Bench
from tests.stores import write_folder
from tests.sweeps import install

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("advise") / "my photos"
    write_folder(RaggedSamples(60, seed=11), root)
    return root


def test_candidates_are_what_can_run_here(tmp_path: Path, photos: Path) -> None:
    fixed = [candidate.label for candidate in candidates(Digits(tmp_path), 10**6, CPU)]
    assert fixed[0] == "filesystem"
    assert set(fixed) <= {"filesystem", "mmap", "memory", "hdf5", "postgres", "lmdb", "sqlite"}
    ragged = [candidate.label for candidate in candidates(Folder(photos), 10**6, CPU)]
    assert {"mmap", "mmap encoding=jpeg", "hdf5 encoding=jpeg", "memory"} <= set(ragged)
    huge = [candidate.label for candidate in candidates(Folder(photos), 10**15, CPU)]
    assert "memory" not in huge


def test_a_plug_in_that_declares_itself_is_a_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "packages", monkeypatch, trouble="tests.trouble_loader:TroubleFormat", gone="no_such:Thing")
    labels = [candidate.label for candidate in candidates(Digits(tmp_path), 10**6, CPU)]
    assert labels[0] == "filesystem"
    assert labels[-1] == "trouble"


def trial(label: str, epochs_s: list[float], prepare_s: float, stall: float = 0.0) -> Trial:
    """Training waits for a share of its time."""
    epoch_s = positive_interval(epochs_s)
    return Trial(Candidate(label, {}, (Way(),)), Way(), epoch_s, stall * epoch_s.mean, prepare_s, 150_000, 1000.0)


def test_a_trial_is_scaled_to_the_whole(tmp_path: Path) -> None:
    config = RunConfig(loader="memory", dataset="digits", batch_size=16, device="cpu", threads=1)
    bench, candidate = Trials(config, Digits(tmp_path), tmp_path / "stores"), Candidate("memory", {}, (Way(),))
    with bench.sampled(candidate, 64) as sampled:
        tried = bench.attempt(candidate, sampled, Way(), 0.1)
        alone = bench.ceiling(sampled, 0.1)
    assert tried.prepare_s == pytest.approx(sampled.info.prepare_s * 1797 / 128)
    assert tried.store_bytes == pytest.approx(sampled.info.allocated_bytes * 1797 / 128)
    assert 0 <= tried.stall_s < tried.epoch_s.mean
    assert 0.05 < alone / tried.epoch_s.mean < 20, "both are of a whole epoch"
    assert not list((tmp_path / "stores").iterdir())


def test_what_is_prepared_must_pay() -> None:
    slow, quick = trial("filesystem", [20.0, 20.0, 20.0], 0.0), trial("mmap", [9.0, 11.0, 10.0], 6.0)
    assert quick.break_even(slow) == pytest.approx(0.6)
    assert (slow.break_even(slow), quick.break_even(None)) == (None, None)
    assert trial("hdf5", [30.0] * 3, 0.0).break_even(slow) is None
    advice = Advice(1.0, [quick, slow], 1, [], [], [])
    assert advice.baseline is slow
    assert Advice(1.0, [quick], 1, [], [], []).baseline is None
    assert [each.total_s(1) for each in advice.trials] == pytest.approx([16, 20])


def test_the_table_s_neighbours_give_the_third() -> None:
    """Of the trials as they are shown, of which the best, and so the baseline, may have been measured again."""
    trials = [
        trial("mmap", [300.0, 500.0, 200.0], 3000.0, 0.1),
        trial("filesystem", [600.0, 500.0, 900.0], 3000.0, 0.5),
        trial("hdf5", [700.0, 700.0, 2000.0], 3000.0, 0.9),
    ]
    columns = table(Advice(1.0, trials, 1, [], [], [])).columns
    rows = list(zip(*([str(cell) for cell in column.cells] for column in columns), strict=True))
    epochs = [float(row[2].partition(" ")[0].replace(",", "")) for row in rows]
    for row, shown, epoch in zip(rows, trials, epochs, strict=True):
        assert float(row[3]) == pytest.approx(100 * shown.stall_s / epoch, abs=0.06)
    paid = float(rows[0][5].replace(",", "")) / (epochs[1] - epochs[0])
    assert [row[7] for row in rows] == [f"{paid:,.1f}", "", ""]
    assert float(rows[2][2].partition("[")[2].partition(",")[0]) > 0, "no epoch takes less than nothing"


def said(bench: Bench, *arguments: str) -> list[str]:
    done = bench("advise", *arguments, "--device", "cpu", "--threads", "1")
    assert done.code == 0, done.err
    return done.out.splitlines()


def test_the_commands_and_lines_of_an_advice_work(
    bench: Bench, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = said(bench, str(photos), "--budget", "12", "--image-size", "32", "--batch-size", "8", "--epochs", "3")
    text = "\n".join(lines)
    assert "For 3 epochs of convnet at batch 8" in text
    prepare, run = (next(line for line in lines if line.startswith(f"bench {verb} ")) for verb in ("prepare", "run"))
    assert bench(*shlex.split(prepare)[1:]).code == 0
    done = bench(*shlex.split(run)[1:], "--epochs", "1", "--threads", "1", "--device", "cpu", "--ceiling-steps", "0")
    assert done.code == 0, done.err
    program = textwrap.dedent("\n".join(lines[lines.index("import loaders") :]))
    seen: list[torch.Tensor] = []
    program = program.replace("    ...  #", "    seen.append(images)  #")
    exec(program, {"seen": seen})  # noqa: S102 - the very lines that a user is told to paste
    assert sum(len(images) for images in seen) == len(survey(photos, 0.2).train.paths)
    assert seen[0].shape[1:] == (3, 32, 32)
    assert not list((tmp_path / "data" / "stores").glob(".advice-*"))


def test_the_shortest_budget_still_gives_an_advice(bench: Bench) -> None:
    text = "\n".join(said(bench, "digits", "--budget", "10"))
    assert re.search(r"Expected is an epoch of [\d.]+ \[-?[\d.]+, [\d.]+\] s", text)
    assert "bench prepare " in text


def test_an_accelerator_is_fed(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = bench("advise", "digits", "--budget", "15", "--accelerator", "resnet50-h100", "--epochs", "2")
    assert done.code == 0, done.err
    assert re.search(r"^\S+ feeds resnet50-h100 \(1,785\.7\d* images/s\) at (100|9\d)%", done.out, re.M), done.out
    assert "feed rate" in done.out
    run = next(line for line in done.out.splitlines() if line.startswith("bench run "))
    assert "--device emulated --accelerator resnet50-h100" in run
    assert bench(*shlex.split(run)[1:], "--epochs", "1").code == 0


def test_a_feed_rate_is_what_an_accelerator_without_a_limit_takes(tmp_path: Path) -> None:
    def tried(speed: float) -> tuple[float, Trial]:
        config = RunConfig(
            loader="memory", dataset="digits", batch_size=16, device="emulated", model=None, accelerator=speed, busy=0.5
        )
        bench, candidate = Trials(config, Digits(tmp_path), tmp_path / "stores"), Candidate("memory", {}, (Way(),))
        with bench.sampled(candidate, 64) as sampled:
            return bench.ceiling(sampled, 0.1), bench.attempt(candidate, sampled, Way(), 0.1)

    ceiling_s, slow = tried(100)
    assert ceiling_s == pytest.approx(1437 / 100)
    assert slow.epoch_s.mean == pytest.approx(ceiling_s, rel=0.2)
    assert slow.stall_s < 0.2 * ceiling_s
    ceiling_s, quick = tried(1e9)
    assert quick.stall_s == pytest.approx(quick.epoch_s.mean, rel=0.01), "it does nothing but wait"
    assert quick.feed_rate is not None
    assert quick.feed_rate > 1000


def test_one_loader_alone_would_be_no_choice(tmp_path: Path) -> None:
    config = RunConfig(loader="filesystem", dataset="digits", batch_size=16, device="cpu", threads=1)
    advice = advise(config, Digits(tmp_path), tmp_path / "stores", 0.0, 3, lambda _: None)
    assert len(advice.trials) == 2
    assert advice.untried


def test_wrong_use(bench: Bench) -> None:
    for arguments, code, message in (
        (("digits", "--accelerator", "0"), 2, "accelerator"),
        (("digits", "--accelerator", "no such card"), 2, "neither a speed in images/s nor a profile"),
        (("digits", "--accelerator", "100", "--model", "convnet"), 2, "model"),
        (("digits", "--accelerator", "100", "--device", "cpu"), 2, "accelerator goes with device emulated"),
        (("digits", "--budget", "1"), 2, "--budget must be at least 10 seconds"),
        (("digits", "--epochs", "0"), 2, "--epochs must be at least 1"),
        (("digits", "--image-size", "64"), 2, "the images of digits have one size"),
        (("nothing",), 2, "no dataset is called 'nothing'"),
        (("cifar10",), 1, "bench fetch cifar10"),
    ):
        done = bench("advise", *arguments)
        assert done.code == code, arguments
        assert message in done.err
