"""`bench gradcheck` as a person meets it: what it prints and writes, and what it exits with."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bench.errors import DataError
from bench.gradients import outcome
from bench.gradients.catalogue import ENTRIES
from bench.gradients.claims import Claim
from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients, Verdict
from bench.gradients.layers import Sigmoid
from bench.gradients.models import TRAINABLES, data
from bench.gradients.mutation.planting import faults, planted
from bench.gradients.report import write
from bench.gradients.report.tables import DERIVED_HERE
from tests.command import Bench, Done
from tests.gradient_samples import a_claim
from tests.latex import compiled, complaints
from tests.test_gradient_report import assert_traced

ROOT = Path(__file__).parents[1]
OUTCOME_FILES = {
    "md": {"audit.md", "claims.md"},
    "csv": {"audit.csv", "checks.csv", "parity.csv", "losses.csv", "claims.csv"},
    "latex": {"audit.tex", "parity.tex", "claims.tex", "preview.tex"},
}
MUTANT_FILES = {"mutants.md", "mutants.csv", "mutants.tex"}
FAULT = "bench: "


Few = Callable[..., None]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Few:
    """Audit these entries alone, and train and claim one thing."""

    def choose(*entries: Entry, claims: tuple[Claim, ...] = (a_claim(),)) -> None:
        monkeypatch.setattr(outcome, "ENTRIES", entries)
        monkeypatch.setattr(outcome, "TRAINABLES", [t for t in TRAINABLES if t.entry.id == "house-linear"])
        monkeypatch.setattr(outcome, "claims", lambda: iter(claims))

    return choose


def the_entry(entry_id: str) -> Entry:
    (entry,) = [entry for entry in ENTRIES if entry.id == entry_id]
    return entry


def faults_told(done: Done) -> list[str]:
    assert "Traceback" not in done.err + done.out
    lines = done.err.splitlines()
    assert all(line.startswith(FAULT) for line in lines), done.err
    return [line.removeprefix(FAULT) for line in lines]


# The real audit


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """One whole run, in a process of its own."""
    folder = tmp_path_factory.mktemp("gradcheck") / "results" / "gradients"
    command = [sys.executable, "-m", "bench", "gradcheck", "--out", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT), folder


def test_all_is_as_expected(real: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, folder = real
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    summary = done.stdout.splitlines()[-1]
    assert summary.startswith(f"{len(ENTRIES)} entries, {len(ENTRIES)} corrected gradients agree; ")
    assert f"{len(TRAINABLES)} models trained twice" in summary
    assert "; all as expected; " in summary
    for entry in ENTRIES:
        assert entry.id in done.stdout
    audit = pd.read_csv(folder / "audit.csv", keep_default_na=False)
    written = [(entry.id, form.name) for entry in ENTRIES for form in entry.written]
    derived = [(entry.id, DERIVED_HERE) for entry in ENTRIES if not entry.written]
    assert sorted(zip(audit["entry"], audit["form"], strict=True)) == sorted([*written, *derived])
    assert (audit["verdict"] == audit["expected"]).all()
    assert not (audit["cause"] == "")[audit["verdict"] != "agrees"].any()


@pytest.mark.parametrize(
    ("entry", "gradient"),
    [
        ("sigmoid", "x"),
        ("mse", "prediction"),
        ("mae", "prediction"),
        ("cubic", "W"),
        ("robot-arm-absolute", "angles"),
        ("robot-arm-relative", "angles"),
    ],
)
def test_what_the_notes_write_wrong_is_shown_as_wrong(
    real: tuple[subprocess.CompletedProcess[str], Path], entry: str, gradient: str
) -> None:
    audit = pd.read_csv(real[1] / "audit.csv", keep_default_na=False)
    found = audit[(audit["entry"] == entry) & (audit["verdict"] == "wrong")]
    assert len(found) > 0
    assert gradient in found.iloc[0]["wrong gradients"].split(", ")
    assert (found["autograd"] > 1e-3).all()
    assert (found["corrected autograd"] <= 1e-10).all()


def test_every_number_is_traced_to_the_raw_values(real: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    folder = real[1]
    assert_traced(pd.read_csv(folder / "audit.csv"), pd.read_csv(folder / "checks.csv"))
    parity, losses = (pd.read_csv(folder / f"{name}.csv", keep_default_na=False) for name in ("parity", "losses"))
    for row in parity.to_dict("records"):
        of_model = losses[losses["model"] == row["model"]]
        assert of_model["epoch"].tolist() == list(range(1, row["epochs"] + 1))
        assert of_model["numpy"].tolist()[-1] == row["numpy loss"]
        assert of_model["torch"].tolist()[-1] == row["torch loss"]
        assert row["worst distance"] <= 1e-9
    assert set(losses["model"]) == set(parity["model"]) == {trainable.entry.id for trainable in TRAINABLES}


@pytest.mark.parametrize("landscape", [True, False])
def test_the_real_tables_compile_within_their_page(
    real: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path, landscape: bool
) -> None:
    for path in real[1].glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        (tmp_path / path.name).write_text(
            text if landscape else text.replace("landscape,margin=15mm", "margin=25mm"), encoding="utf-8"
        )
    assert complaints(compiled(tmp_path / "preview.tex")) == []


def test_the_page_shows_figures_that_are_there(real: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    page = (real[1] / "audit.md").read_text(encoding="utf-8")
    assert "by `bench gradcheck --out gradients` with Python " in page
    pictures = [line.partition("](")[2].rstrip(")") for line in page.splitlines() if line.startswith("![")]
    assert len(pictures) >= 4
    for picture in pictures:
        assert (real[1] / picture).read_bytes().startswith(b"\x89PNG")


# What it writes


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_command_writes_the_same_files(bench: Bench, few: Few, tmp_path: Path) -> None:
    few(the_entry("sigmoid"), the_entry("mse"))
    out = tmp_path / "audit"
    done = bench("gradcheck", "--out", str(out))
    assert (done.code, done.err) == (0, "")
    first = contents(out)
    assert {path.name for path in out.iterdir()} == {"figures"}.union(*OUTCOME_FILES.values())
    assert [line for line in done.out.splitlines() if line.startswith("wrote ")] == [
        f"wrote {out / name}" for name in sorted({path.partition("/")[0] for path in first}, key=done.out.find)
    ]
    (out / "figures" / "stale.png").touch()
    (out / "mine.txt").write_text("kept")
    assert bench("gradcheck", "--out", str(out)).code == 0
    assert contents(out) == {**first, "mine.txt": b"kept"}


@pytest.mark.parametrize("formats", ["csv", "latex, md"])
def test_formats_are_those_asked_for(bench: Bench, few: Few, tmp_path: Path, formats: str) -> None:
    few(the_entry("sigmoid"))
    assert bench("gradcheck", "--out", str(tmp_path / "audit"), "--format", formats).code == 0
    expected = {"figures"}.union(*(OUTCOME_FILES[name] for name in formats.split(", ")))
    assert {path.name for path in (tmp_path / "audit").iterdir()} == expected


def test_mutants_are_written_beside_the_audit(bench: Bench, few: Few, tmp_path: Path) -> None:
    few(the_entry("sigmoid"))
    out = tmp_path / "audit"
    assert bench("gradcheck", "--out", str(out)).code == 0
    before = contents(out)
    assert bench("gradcheck", "--mutants", "--out", str(out)).code == 0
    assert {name: content for name, content in contents(out).items() if name in before} == before
    assert contents(out).keys() - before.keys() == MUTANT_FILES
    assert "by `bench gradcheck --mutants --out audit`" in (out / "mutants.md").read_text(encoding="utf-8")


def test_what_cannot_be_drawn_leaves_the_files_as_they_were(
    bench: Bench, few: Few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(folder: Path, made: outcome.Outcome) -> list[Path]:
        (folder / "half.png").touch()
        raise OSError(28, "No space left on device")

    few(the_entry("sigmoid"))
    out = tmp_path / "audit"
    assert bench("gradcheck", "--out", str(out)).code == 0
    before = contents(out)
    few(the_entry("sigmoid"), the_entry("mse"))
    monkeypatch.setattr(write, "draw", torn)
    done = bench("gradcheck", "--out", str(out))
    assert done.code == 1
    assert faults_told(done) == [f"cannot write the audit into {out}: No space left on device; choose another --out"]
    assert contents(out) == before
    assert {path.name for path in out.iterdir()} == {"figures"}.union(*OUTCOME_FILES.values())


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_computed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome, "ENTRIES", None)  # to be iterated over is an error of the program
    (tmp_path / "file").touch()
    done = bench("gradcheck", "--out", str(tmp_path / "file" / "audit"))
    assert done.code == 1
    (told,) = faults_told(done)
    assert "Not a directory; choose another --out" in told


# Faults


def test_a_fault_in_a_gradient_is_told_with_its_entry(bench: Bench, few: Few) -> None:
    few(the_entry("sigmoid"), the_entry("tanh"))
    fault = next(fault for fault in faults(Sigmoid._backward) if fault.operator == "sign")
    with planted(Sigmoid._backward, fault.code):
        done = bench("gradcheck")
    assert done.code == 1
    assert faults_told(done) == ["sigmoid: the corrected gradient of x is wrong"]
    assert "1 not as expected" in done.out.splitlines()[-1]
    assert bench("gradcheck").code == 0


def test_a_verdict_that_is_not_expected_is_told(bench: Bench, few: Few) -> None:
    entry = the_entry("sigmoid")
    few(
        dataclasses.replace(entry, written=tuple(dataclasses.replace(w, expected=Verdict.WRONG) for w in entry.written))
    )
    done = bench("gradcheck")
    assert done.code == 1
    assert faults_told(done) == ["sigmoid (derivation): the verdict is 'agrees', expected was 'wrong'"]
    assert "agrees, not" in done.out  # "wrong" is in the next line of its cell


def test_a_claim_that_is_not_as_expected_is_told(bench: Bench, few: Few) -> None:
    few(the_entry("sigmoid"), claims=(a_claim("arm", verdict="holds", expected="does not hold"),))
    done = bench("gradcheck")
    assert done.code == 1
    assert faults_told(done) == ["arm: the verdict is 'holds', expected was 'does not hold'"]


def test_california_housing_is_trained_on_beside_the_other_data(
    bench: Bench, few: Few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few(the_entry("sigmoid"))
    rng = np.random.default_rng(0)
    samples = data.Regression(rng.standard_normal((20, 8)), rng.standard_normal((20, 1)))
    monkeypatch.setattr(data, "california", lambda: samples)  # the real ones are downloaded
    assert bench("gradcheck", "--california", "--out", str(tmp_path), "--format", "csv").code == 0
    parity = pd.read_csv(tmp_path / "parity.csv")
    assert parity["model"].tolist() == ["house-linear", "variable-oop-california"]


def test_data_that_cannot_be_fetched_are_told_before_anything_is_computed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable() -> data.Regression:
        raise DataError("California housing could not be fetched")

    monkeypatch.setattr(outcome, "ENTRIES", None)
    monkeypatch.setattr(data, "california", unreachable)
    done = bench("gradcheck", "--california")
    assert done.code == 1
    assert faults_told(done) == ["California housing could not be fetched"]


def raising(inputs: Arrays, g: Array) -> Gradients:
    """A gradient whose shapes do not fit."""
    return {"x": np.ones(3) @ np.ones(4)}


@pytest.mark.parametrize("arguments", [(), ("--mutants",)], ids=["audit", "mutants"])
def test_code_that_raises_is_told_with_its_entry(bench: Bench, few: Few, arguments: tuple[str, ...]) -> None:
    few(the_entry("tanh"), dataclasses.replace(the_entry("sigmoid"), corrected=raising, targets=()))
    done = bench("gradcheck", *arguments)
    assert done.code == 1
    (told,) = faults_told(done)
    assert told.startswith("sigmoid: ValueError: ")
    assert bench("gradcheck", *arguments, "--debug").err.count("Traceback") >= 1


def test_all_planted_faults_of_an_entry_are_caught(bench: Bench, few: Few) -> None:
    few(the_entry("sigmoid"), the_entry("mse"))
    done = bench("gradcheck", "--mutants")
    assert (done.code, done.err) == (0, "")
    planted_faults = len(faults(Sigmoid._backward))
    assert any(line.split()[:3] == ["sigmoid", *[str(planted_faults)] * 2] for line in done.out.splitlines())
    assert "Planted faults by operator" in done.out
    count, _, total = done.out.splitlines()[-1].split()[:3]
    assert count == total
    assert "trained" not in done.out


def needless(inputs: Arrays, g: Array) -> Gradients:
    """The gradient of x, with a factor that is 1 wherever it is looked at."""
    return {"x": g * inputs["one"]}


def some(rng: np.random.Generator) -> Iterator[Case]:
    yield Case("square", {"x": rng.standard_normal((3, 3)), "one": np.array(1.0)})


def test_a_fault_that_is_not_noticed_is_told(bench: Bench, few: Few) -> None:
    entry = Entry(
        id="needless",
        title="identity",
        group="layer",
        formula="x",
        corrected_latex="g",
        forward=lambda inputs: inputs["x"],
        corrected=needless,
        torch=lambda tensors: tensors["x"] * 1,
        wrt=("x",),
        cases=some,
    )
    few(the_entry("sigmoid"), entry)
    done = bench("gradcheck", "--mutants")
    assert done.code == 1
    told = faults_told(done)
    assert told
    assert all(line.startswith("needless: ") for line in told)
    assert any("g * inputs['one'] -> g (dropped factor)" in line for line in told), told


# Usage


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "md"), "--format goes with --out"),
        (("--out", "OUT", "--format", "docx"), "--format has no docx; it has: md, csv, latex"),
        (("--mutants", "--california"), "--mutants goes without --california"),
        (("--mutants", "--device", "cuda"), "--mutants goes without --california and --device"),
    ],
    ids=str,
)
def test_wrong_usage(bench: Bench, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = bench("gradcheck", *(str(tmp_path / "out") if word == "OUT" else word for word in arguments))
    assert done.code == 2
    (told,) = faults_told(done)
    assert words in told
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_where_there_is_none(bench: Bench) -> None:
    done = bench("gradcheck", "--device", "cuda")
    assert done.code == 2
    (told,) = faults_told(done)
    assert "CUDA" in told
    assert "--device cpu" in told


@pytest.mark.cuda
def test_pytorch_may_compute_on_a_cuda_device(bench: Bench, tmp_path: Path) -> None:
    done = bench("gradcheck", "--device", "cuda", "--out", str(tmp_path), "--format", "md,csv")
    assert (done.code, done.err) == (0, "")
    assert "device cuda (" in (tmp_path / "audit.md").read_text(encoding="utf-8")
