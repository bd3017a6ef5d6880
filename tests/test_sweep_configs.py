"""Every sweep that ships can be read and planned, fits its loaders and data, and says what it is for."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import torch

from bench.errors import UsageError
from bench.sources.registry import open_source
from bench.sweep.config import SweepConfig, SweepFile, read_sweep
from bench.sweep.data import missing_twins
from bench.sweep.plan import Folders, Plan, make_plan
from loaders import loader_names

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(set((ROOT / "configs").glob("*.toml")) - {ROOT / "configs" / "accelerators.toml"})
OFFICIAL = {"thesis", "speed"}
"""Sweeps whose accuracies matter: they want the official files."""


def read(path: Path) -> SweepFile:
    """A file as it can be planned here: captured steps want a CUDA device."""
    file = read_sweep(path)
    if torch.cuda.is_available():
        return file
    config = json.loads(file.config.model_dump_json(exclude_unset=True))
    for part in (config.get("run", {}), *config["matrix"]):
        part.pop("cuda_graphs", None)
    return file._replace(config=SweepConfig.model_validate(config))


def planned(path: Path) -> Plan:
    return make_plan(read(path), Folders(ROOT / "nowhere", ROOT / "nowhere" / "stores"))


def test_there_is_one_for_each_question_and_all_share_one_data_folder() -> None:
    assert {path.stem for path in CONFIGS} == {
        *("demo", "cpu", "thesis", "workers", "batch-size", "hdf5-chunks", "jpeg-against-raw", "postgres-access"),
        *("own-images", "speed", "gpu-speed", "gpu-deep", "feed"),
    }
    entries = [entry for path in CONFIGS for entry in read_sweep(path).config.data]
    assert len({entry.model_dump_json() for entry in entries}) == len({entry.dataset for entry in entries}) == 3


@pytest.fixture(scope="module")
def encodings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the files of each dataset hold."""
    folder = tmp_path_factory.mktemp("twins")
    held: dict[str, str] = {}
    for name in ("digits", "cifar10", "tiny-imagenet", "imagenette-320"):
        source = open_source(name, folder)
        if source.missing():
            source.make_twin(0.002, lambda *_: None)
        held[name] = source.splits()["train"].encoding
    return held


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_says_what_it_is_for_and_fits_loaders_and_data(
    path: Path, encodings: dict[str, str], tmp_path: Path
) -> None:
    text, file, folders = path.read_text(), read(path), Folders(tmp_path, tmp_path / "stores")
    assert re.findall(r"^# (Question|Machine|Time): \S", text, re.MULTILINE) == ["Question", "Machine", "Time"]
    assert text.startswith("# Question")
    assert (file.config.name, bool(file.config.title)) == (path.stem, True)
    plan = make_plan(file, folders)
    assert {cell.config.loader for cell in plan.cells if cell.spec is None} == set()
    known = ("encoding", "workers", "keeps images of one size")
    assert [line for line in plan.left_out if not any(reason in line for reason in known)] == []
    for cell in plan.cells:
        if cell.config.options.get("encoding") == "jpeg":
            assert encodings[cell.config.dataset] == "jpeg", cell.cell
    if path.stem not in OFFICIAL:
        twins = {twin.dataset for twin in missing_twins(file, plan.cells, folders)}
        assert twins == {cell.config.dataset for cell in plan.cells} - {"digits"}


def test_the_thesis_s_matrix() -> None:
    plan = planned(ROOT / "configs" / "thesis.toml")
    cells = {(c.config.loader, c.config.dataset, c.config.model, c.config.cache) for c in plan.cells}
    datasets, models = ("cifar10", "tiny-imagenet"), ("convnet", "resnet18", "densenet121")
    assert cells == {
        (loader, dataset, model, cache)
        for loader in loader_names()
        for dataset in datasets
        for model in models
        for cache in ("cold", "warm")
    }
    assert (len(plan.cells), len(plan.rounds)) == (len(cells), 5)


def test_what_two_cores_can_answer() -> None:
    plan = planned(ROOT / "configs" / "cpu.toml")
    how = {(cell.config.cache, cell.config.epochs, cell.config.ceiling_steps) for cell in plan.cells}
    assert how == {("cold", 1, 30), ("warm", 1, 30)}
    assert (len(plan.cells), len(plan.rounds)) == (2 * len(loader_names()), 5)


def test_the_fast_training() -> None:
    path = ROOT / "configs" / "speed.toml"
    plan = planned(path)
    assert {(c.config.loader, c.config.model) for c in plan.cells} == {
        (loader, model) for loader in loader_names() for model in ("resnet9", "convnet")
    }
    how = {
        (c.config.dataset, c.config.batch_size, c.config.amp, c.config.channels_last, c.config.deterministic)
        for c in plan.cells
    }
    assert how == {("cifar10", 512, True, True, False)}
    assert len(plan.rounds) == 5
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match=r"speed.toml, line \d+: CUDA graphs are for a CUDA device, not for cpu"):
            make_plan(read_sweep(path), Folders(ROOT / "nowhere", ROOT / "nowhere" / "stores"))


def test_the_demo_is_a_sweep() -> None:
    assert "bench sweep configs/demo.toml --fresh" in (ROOT / "scripts" / "demo").read_text()
    assert subprocess.run(["bash", "-n", ROOT / "scripts" / "demo"], check=True).returncode == 0
    cells = planned(ROOT / "configs" / "demo.toml").cells
    assert {cell.config.loader for cell in cells} == set(loader_names())
    for emulated, epochs in ((True, 1), (False, 5)):
        own = [cell.config for cell in cells if (cell.config.device == "emulated") == emulated]
        # Where there is a CUDA device, what gives its batches there does not fit an emulated one.
        assert {config.loader for config in own} | {"gpu_mmap"} == set(loader_names())
        assert {(config.dataset, config.epochs) for config in own} == {("digits", epochs)}
