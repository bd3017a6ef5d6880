"""`bench gradcheck` as a person meets it: what it prints and writes, and what it exits with."""

from __future__ import annotations

import csv
import dataclasses
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.errors import DataError
from bench.gradients import outcome, write
from bench.gradients.catalogue import ENTRIES
from bench.gradients.claims import Claim
from bench.gradients.entry import Array, Arrays, Case, Entry, Gradients, Verdict
from bench.gradients.faults import faults, planted
from bench.gradients.layers import Sigmoid
from bench.gradients.models import TRAINABLES, data
from bench.gradients.tables import DERIVED_HERE
from bench.render.language import translated
from bench.render.stored import STORED, loads
from bench.report.page.gradients import gradient_tables
from tests.command import Bench, Done
from tests.forked import started
from tests.gradient_samples import a_claim, a_figure
from tests.latex import compiled, complaints
from tests.test_gradient_tables import assert_traced

ROOT = Path(__file__).parents[1]
FILES = {
    "md": {"audit.md"},
    "csv": {"audit.csv", "checks.csv", "parity.csv", "losses.csv", "claims.csv"},
    "latex": {"audit.tex", "formulas.tex", "parity.tex", "claims.tex", "preview.tex"},
}
ALWAYS = {"figures", STORED}
FAULT = "bench: "


Few = Callable[..., None]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Few:
    """Audit these entries alone, train and claim one thing, and draw one figure."""

    def choose(*entries: Entry, claims: tuple[Claim, ...] = (a_claim(),)) -> None:
        monkeypatch.setattr(outcome, "ENTRIES", entries)
        monkeypatch.setattr(outcome, "TRAINABLES", [t for t in TRAINABLES if t.entry.id == "house-linear"])
        monkeypatch.setattr(outcome, "claims", lambda: iter(claims))
        monkeypatch.setattr(write, "figures", lambda _: [a_figure()])

    return choose


def the_entry(entry_id: str) -> Entry:
    (entry,) = [entry for entry in ENTRIES if entry.id == entry_id]
    return entry


def faults_told(done: Done) -> list[str]:
    assert "Traceback" not in done.err + done.out
    lines = done.err.splitlines()
    assert all(line.startswith(FAULT) for line in lines), done.err
    return [line.removeprefix(FAULT) for line in lines]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# The real audit


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """One whole run, in a process of its own."""
    folder = tmp_path_factory.mktemp("gradcheck") / "results" / "gradients"
    with started("gradcheck", "--out", folder, cwd=ROOT) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err), folder


def test_all_is_as_expected(real: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, folder = real
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    summary = done.stdout.splitlines()[-1]
    assert summary.startswith(f"{len(ENTRIES)} entries, {len(ENTRIES)} corrected gradients agree; ")
    assert f"{len(TRAINABLES)} models trained twice" in summary
    assert "; all as expected; " in summary
    audit = rows_of(folder / "audit.csv")
    written = [(entry.id, form.name) for entry in ENTRIES for form in entry.written]
    derived = [(entry.id, DERIVED_HERE) for entry in ENTRIES if not entry.written]
    assert sorted((row["entry"], row["form"]) for row in audit) == sorted([*written, *derived])
    assert all(row["verdict"] == row["expected"] for row in audit)
    wrong = [row for row in audit if row["verdict"] == "wrong"]
    assert all(row["cause"] and float(row["autograd"]) > 1e-3 for row in wrong)
    assert all(float(row["corrected autograd"]) <= 1e-10 for row in audit)


def test_every_number_is_traced_to_the_raw_values(real: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    folder = real[1]
    assert_traced(rows_of(folder / "audit.csv"), rows_of(folder / "checks.csv"))
    parity, losses = rows_of(folder / "parity.csv"), rows_of(folder / "losses.csv")
    for row in parity:
        of_model = [loss for loss in losses if loss["model"] == row["model"]]
        assert [float(loss["epoch"]) for loss in of_model] == list(range(1, int(float(row["epochs"])) + 1))
        assert (of_model[-1]["numpy"], of_model[-1]["torch"]) == (row["numpy loss"], row["torch loss"])
        assert float(row["worst distance"]) <= 1e-9
    assert [row["model"] for row in parity] == [trainable.entry.id for trainable in TRAINABLES]


def test_the_real_tables_compile_within_their_page(
    real: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path
) -> None:
    for path in real[1].glob("*.tex"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert complaints(compiled(tmp_path / "preview.tex")) == []


def test_the_pages_show_what_is_there(real: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    page = (real[1] / "audit.md").read_text(encoding="utf-8")
    assert "Made by `bench gradcheck --out gradients`." in page
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert len(pictures) == 5
    for picture in pictures:
        assert (real[1] / picture).read_bytes().startswith(b"\x89PNG")
    stored = loads((real[1] / STORED).read_text(encoding="utf-8"))
    shown = gradient_tables(real[1])
    assert [table.key for table in shown] == [f"gradients-{table.key}" for table in stored]
    assert [table.rows for table in shown] == [table.rows for table in stored]
    assert translated(shown[2].title, "lv") == "Apgalvojumi"
    assert [len(table.rows) for table in stored] == [60, 11, 19]


# What it writes


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_command_writes_the_same_files(bench: Bench, few: Few, tmp_path: Path) -> None:
    few(the_entry("sigmoid"), the_entry("mse"))
    out = tmp_path / "audit"
    done = bench("gradcheck", "--out", str(out))
    assert (done.code, done.err) == (0, "")
    first = contents(out)
    assert {path.name for path in out.iterdir()} == ALWAYS.union(*FILES.values())
    assert [line for line in done.out.splitlines() if line.startswith("wrote ")] == [
        f"wrote {out / name}" for name in sorted({path.partition("/")[0] for path in first}, key=done.out.find)
    ]
    (out / "mine.txt").write_text("kept")
    assert bench("gradcheck", "--out", str(out)).code == 0
    assert contents(out) == {**first, "mine.txt": b"kept"}


def test_formats_are_those_asked_for(bench: Bench, few: Few, tmp_path: Path) -> None:
    few(the_entry("sigmoid"))
    assert bench("gradcheck", "--out", str(tmp_path / "audit"), "--format", "latex, csv").code == 0
    assert {path.name for path in (tmp_path / "audit").iterdir()} == ALWAYS | FILES["latex"] | FILES["csv"]


def test_what_cannot_be_drawn_leaves_the_files_as_they_were(
    bench: Bench, few: Few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(_: Any) -> list[Any]:
        raise ValueError("no font")

    few(the_entry("sigmoid"))
    (tmp_path / "audit.md").write_text("as it was")
    monkeypatch.setattr(write, "figures", torn)
    assert bench("gradcheck", "--out", str(tmp_path)).code == 1
    assert contents(tmp_path) == {"audit.md": b"as it was"}


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
    fault = next(fault for fault in faults(Sigmoid._backward) if fault.kind == "sign")
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
    assert "not wrong" in " ".join(done.out.split())


def test_a_claim_that_is_not_as_expected_is_told(bench: Bench, few: Few) -> None:
    few(the_entry("sigmoid"), claims=(a_claim("arm", verdict="holds", expected="does not hold"),))
    done = bench("gradcheck")
    assert done.code == 1
    assert faults_told(done) == ["arm: the verdict is 'holds', expected was 'does not hold'"]


def test_california_housing_is_trained_on_beside_the_other_data(
    bench: Bench, few: Few, monkeypatch: pytest.MonkeyPatch
) -> None:
    few(the_entry("sigmoid"))
    rng = np.random.default_rng(0)
    samples = data.Regression(rng.standard_normal((20, 8)), rng.standard_normal((20, 1)))
    monkeypatch.setattr(data, "california", lambda: samples)  # the real ones are downloaded
    done = bench("gradcheck", "--california")
    assert done.code == 0
    assert "2 models trained twice" in done.out


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


def test_code_that_raises_is_told_with_its_entry(bench: Bench, few: Few) -> None:
    few(the_entry("tanh"), dataclasses.replace(the_entry("sigmoid"), corrected=raising, targets=(raising,)))
    commands: list[tuple[str, ...]] = [("gradcheck",), ("gradcheck", "--mutants")]
    for command in commands:
        done = bench(*command)
        assert done.code == 1
        (told,) = faults_told(done)
        assert told.startswith("sigmoid: ValueError: ")
        assert bench(*command, "--debug").err.count("Traceback") >= 1


def test_all_planted_faults_of_an_entry_are_caught(bench: Bench, few: Few) -> None:
    few(the_entry("sigmoid"), the_entry("mse"))
    done = bench("gradcheck", "--mutants")
    assert (done.code, done.err) == (0, "")
    planted_faults = len(faults(Sigmoid._backward))
    cells = [re.findall(r"[\w-]+", line)[:3] for line in done.out.splitlines()]
    assert ["sigmoid", *[str(planted_faults)] * 2] in cells
    assert "Planted faults; by kind" in done.out
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
        formula="x",
        corrected_latex="g",
        forward=lambda inputs: inputs["x"],
        corrected=needless,
        torch=lambda tensors: tensors["x"] * 1,
        cases=some,
        targets=(needless,),
    )
    few(the_entry("sigmoid"), entry)
    done = bench("gradcheck", "--mutants")
    assert done.code == 1
    told = faults_told(done)
    assert told
    assert all(line.startswith("needless: ") for line in told)
    assert any("g * inputs['one'] -> g (dropped factor)" in line for line in told), told


# Usage


def test_wrong_usage(bench: Bench, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    usages: list[tuple[tuple[str, ...], str]] = [
        (("--format", "md"), "--format goes with --out"),
        (("--out", out, "--format", "docx"), "--format has no docx; it has: md, csv, latex"),
        (("--mutants", "--california"), "--mutants goes alone, without --california"),
        (("--mutants", "--device", "cuda"), "--mutants goes alone, without --california, --device"),
        (("--mutants", "--out", out), "--mutants goes alone"),
    ]
    for arguments, words in usages:
        done = bench("gradcheck", *arguments)
        assert done.code == 2, arguments
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
