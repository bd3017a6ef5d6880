"""The command line as a person meets it: what it prints, writes and exits with."""

from __future__ import annotations

import getpass
import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tests.command import Bench

RATE = ("rate", "memory", "digits", "--limit", "64", "--repeats", "1", "--batches", "1", "--device", "cpu")
QUICK = ("--limit", "64", "--epochs", "1", "--threads", "1", "--device", "cpu")


def test_help_names_every_command(bench: Bench) -> None:
    done = bench("--help")
    assert done.code == 0
    listed = re.findall(r"^ +([a-z]+) +\w", done.out.partition("Commands:")[2], re.M)
    about_data, about_records = ["loaders", "datasets", "doctor", "fetch", "prepare"], ["report", "compare", "sweep"]
    assert listed == [*about_data, "run", "rate", "profile", "advise", *about_records, "gradcheck"]
    for command in (*listed, "job"):  # which is hidden
        assert bench(command, "--help").code == 0


def test_the_program_starts_as_a_module_and_its_help_does_not_import_torch() -> None:
    code = (
        "import sys, runpy\ntry: runpy.run_module('bench', run_name='__main__')\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert "Which storage format" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


def test_loaders_datasets_and_doctor_name_options_and_what_is_missing(bench: Bench) -> None:
    out = bench("loaders").out
    assert "mmap: available" in out
    assert "    encoding = raw (raw | jpeg; shapes the store) raw: decoded pixels; jpeg: the" in out
    assert "dsn = None (str) " in out
    assert "threads = 0 (int) decoding threads; 0: one per core" in out
    assert "password" not in out
    listed = bench("datasets").out
    assert "bench fetch cifar10" in listed
    done = bench("doctor")
    long = [line for line in (out + listed + done.out).splitlines() if len(line) > 80]
    assert all(len(line.split()) == 1 for line in long), long  # but for a path
    assert done.code == 0
    assert "bench fetch tiny-imagenet" in done.out
    assert re.search(r"^ok +dataset digits", done.out, re.M)


def test_prepare_run_rate_report(bench: Bench) -> None:
    done = bench("prepare", "mmap", "digits", "--limit", "64")
    assert (done.code, "prepared in" in done.out) == (0, True)
    assert "already prepared" in bench("prepare", "mmap", "digits", "--limit", "64").out
    assert "prepared in" in bench("prepare", "mmap", "digits", "--limit", "64", "--force").out
    done = bench("run", "mmap", "digits", *QUICK)
    assert (done.code, done.err) == (0, "")
    assert "accuracy" in done.out
    told = re.search(r": ([\d.]+) s an epoch, ([\d,]+) images/s, ", done.out)
    assert told is not None
    seconds, speed = float(told[1]), float(told[2].replace(",", ""))
    assert 64 / (seconds + 0.0005) - 0.5 <= speed <= 64 / max(1e-9, seconds - 0.0005) + 0.5
    assert bench("run", "memory", "digits", *QUICK).code == 0
    done = bench("rate", "mmap", "digits", "--limit", "64", "--repeats", "2", "--device", "cpu")
    shown = re.search(r": ([\d,]+) images/s, ([\d.]+) of the plain idiom's ([\d,]+) ", done.out)
    assert shown is not None
    mine, ratio, raw = (float(number.replace(",", "")) for number in shown.groups())
    assert ratio == pytest.approx(mine / raw, abs=0.0051)
    files = sorted(bench.out.glob("*"))
    assert [path.suffix for path in files] == [".json"] * 3

    done = bench("report", str(bench.out))
    assert done.code == 0
    page = (bench.out / "report.md").read_text()
    table = pd.read_csv(bench.out / "tables" / "main-convnet-warm.csv")
    assert table["loader"].tolist() == ["memory", "mmap"]
    assert table["digest"].tolist() == ["agree", "agree"]
    by_loader = {}
    for path in files:
        record = json.loads(path.read_bytes())
        if record["epochs"]:
            by_loader[record["loader"]["name"]] = record["epochs"][0]["wall_s"]
    for loader, seconds in zip(table["loader"], table["epoch_s"], strict=True):
        assert seconds == pytest.approx(by_loader[loader])
        assert f"{seconds:.3f}" in page
    kinds = {path.suffix for path in bench.out.rglob("*")}
    assert kinds >= {".md", ".html", ".csv", ".tex", ".pdf", ".png"}
    assert sorted(bench.out.rglob("*.json")) == files, "reports leave records alone"


def test_report_takes_language_baseline_and_formats(bench: Bench) -> None:
    assert bench("run", "mmap", "digits", *QUICK).code == 0
    options = ("--format", "md,csv", "--language", "lv", "--baseline", "mmap")
    done = bench("report", str(bench.out), *options)
    assert (done.code, "ielādētājs" in done.out) == (0, True)
    assert {path.name for path in bench.out.iterdir() if path.suffix != ".json"} == {"report-lv.md", "tables-lv"}
    page = (bench.out / "report-lv.md").read_text(encoding="utf-8")
    assert f"`bench report {bench.out.name} --baseline 'mmap' --language lv`" in page
    done = bench("report", str(bench.out), "--baseline", "floppy")
    assert (done.code, done.err) == (2, "bench: --baseline floppy: no record is of that loader; there are: mmap\n")


def repeats_in(folder: Path) -> list[int]:
    return sorted(json.loads(path.read_bytes())["config"]["repeat"] for path in folder.glob("*.json"))


def test_a_run_that_is_repeated_gets_the_next_free_number(bench: Bench) -> None:
    for number, extra in enumerate(((), (), ("--repeat", "3"), ())):
        assert bench(*RATE, *extra).code == 0
        assert repeats_in(bench.out) == [[0], [0, 1], [0, 1, 3], [0, 1, 2, 3]][number]


def test_a_record_is_overwritten_on_demand_alone(bench: Bench) -> None:
    assert bench(*RATE).code == 0
    (path,) = bench.out.glob("*.json")
    before = path.read_bytes()
    done = bench("rate", "hdf5", *RATE[2:], "--repeat", "0")
    assert done.code == 0, "another loader has numbers of its own"
    done = bench(*RATE, "--repeat", "0")
    refusal = f"bench: --repeat 0: {path} is there already; leave it out for the next free number, or add --overwrite\n"
    assert (done.code, done.err, path.read_bytes()) == (2, refusal, before)
    done = bench(*RATE, "--overwrite")
    assert (done.code, "--overwrite goes with --repeat" in done.err, path.read_bytes()) == (2, True, before)
    assert bench(*RATE, "--repeat", "0", "--overwrite").code == 0
    assert path.read_bytes() != before
    assert repeats_in(bench.out) == [0, 0]


def test_a_failed_run_keeps_its_number_and_its_record(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("bench.train.trainer.build_model", lambda: None)  # which takes no arguments
        assert bench("run", "memory", "digits", *QUICK).code == 1
    assert bench("run", "memory", "digits", *QUICK).code == 0
    found = {json.loads(path.read_bytes())["config"]["repeat"]: path for path in bench.out.glob("*.json")}
    assert [json.loads(found[number].read_bytes())["status"] for number in (0, 1)] == ["failed", "ok"]


def test_a_data_set_of_one_class_is_trained_on_and_reported(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "own" / "only").mkdir(parents=True)
    for number in range(10):
        Image.new("RGB", (40, 48), (20 * number, 9, 200)).save(tmp_path / "own" / "only" / f"{number}.png")
    done = bench("run", "mmap", f"folder:{tmp_path / 'own'}", "--epochs", "1", "--device", "cpu", "--image-size", "32")
    assert (done.code, "accuracy 1.0000, macro-F1 1.0000; record" in done.out) == (0, True), done
    assert bench("report", str(bench.out)).code == 0
    assert "1.0000" in (bench.out / "report.md").read_text(encoding="utf-8")


def test_every_setting_of_training_can_be_given(bench: Bench) -> None:
    given: tuple[str, ...] = (
        "--channels-last",
        "--amp",
        "--no-deterministic",
        "--label-smoothing",
        "0.1",
        "--in-flight",
        "3",
    )
    given = (*given, "--ceiling-steps", "0", "--limit", "16")
    assert bench("run", "memory", "digits", *QUICK, *given, "--rate-batches", "0").code == 0
    (path,) = bench.out.glob("*.json")
    config = json.loads(path.read_text())["config"]
    wanted = {"channels_last": True, "amp": True, "deterministic": False, "label_smoothing": 0.1, "in_flight": 3}
    assert wanted.items() <= config.items()
    assert {"--compile", "--cuda-graphs"} <= set(bench("run", "--help").out.split())
    done = bench("run", "memory", "digits", *QUICK, "--cuda-graphs")
    assert (done.code, done.out) == (2, "")
    assert "CUDA graphs are for a CUDA device, not for cpu; take device cuda, or no graphs" in done.err


def test_doctor_verify_reads_every_store(bench: Bench) -> None:
    bench("prepare", "mmap", "digits", "--limit", "64")
    done = bench("doctor", "--verify")
    assert re.search(r"^ok +store digits-limit64/mmap: 128 samples", done.out, re.M)
    pixels = bench.data / "stores" / "digits-limit64" / "mmap" / "train.pixels"
    content = bytearray(pixels.read_bytes())
    content[1000] ^= 1
    pixels.write_bytes(content)
    done = bench("doctor", "--verify")
    assert done.code == 1
    assert re.search(r"^damaged +store digits-limit64/mmap", done.out, re.M)


def test_fetch_makes_a_twin_that_runs(bench: Bench) -> None:
    assert bench("fetch", "cifar10", "--synthetic", "--fraction", "0.002").code == 0
    done = bench("run", "mmap", "cifar10", "--epochs", "1", "--device", "cpu")
    assert done.code == 0
    (path,) = bench.out.glob("*.json")
    text = path.read_text()
    record = json.loads(text)
    assert (record["dataset"]["synthetic"], record["dataset"]["official"]) == (True, False)
    assert "synthetic" in bench("report", str(bench.out)).out
    # It can be published as it is.
    for own in (str(bench.data), str(Path.cwd()), platform.node(), f'"{getpass.getuser()}"'):
        assert own not in text


def test_an_unavailable_loader_is_recorded_and_exits_1(bench: Bench) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("every loader can run here")
    done = bench("run", "gpu_mmap", "digits")
    assert done.code == 1
    assert done.err.count("\n") == 1
    (path,) = bench.out.glob("*.json")
    assert json.loads(path.read_bytes())["status"] == "unavailable"
    done = bench("report", str(bench.out))
    assert done.code == 0
    assert "unavailable: no CUDA device" in done.out
