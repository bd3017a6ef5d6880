"""A loader from another package: installed beside this one, it fulfils the contract and runs by its name."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


class Environment:
    """A virtual environment that also sees what is installed here, and this source tree."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        self.outside = folder.parent / "outside"  # not the source tree: nothing is found by accident
        self.outside.mkdir()
        packages = self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
        here = dict.fromkeys([*map(sysconfig.get_path, ("purelib", "platlib")), str(ROOT)])
        (Path(packages) / "parent.pth").write_text("\n".join(here) + "\n")

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "PYTHONPATH"))}
        done = subprocess.run(
            [self.python, *arguments], cwd=self.outside, env=clean, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Path]:
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed in this environment")
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(
        ROOT / "tests" / "plugin_example", folder / "source", ignore=shutil.ignore_patterns("__pycache__")
    )
    environment = Environment(folder / "environment")
    pip = (sys.executable, "-m", "pip", "--python", environment.python, "--disable-pip-version-check", "install")
    offline = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    done = subprocess.run([*pip, *offline, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return environment, source


def test_it_fulfils_the_contract(installed: tuple[Environment, Path]) -> None:
    environment, source = installed
    done = environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", source)
    summary = done.stdout.splitlines()[-1]
    assert int(summary.split()[0]) >= 15, summary
    assert "passed" in summary
    assert "skipped" not in summary


def test_it_is_listed_and_runs(installed: tuple[Environment, Path], tmp_path: Path) -> None:
    environment, _ = installed
    listed = environment.run("-m", "bench", "loaders").stdout.splitlines()
    assert "npy: available" in listed
    assert "mmap: available" in listed
    folders = ("--data-dir", tmp_path, "--out", tmp_path / "out")
    short = ("--limit", "64", "--epochs", "1", "--threads", "1", "--ceiling-steps", "1", "--rate-batches", "1")
    environment.run("-m", "bench", "run", "npy", "digits", *short, *folders)
    (path,) = (tmp_path / "out").glob("*.json")
    record: dict[str, Any] = json.loads(path.read_text())
    assert (record["status"], record["loader"], record["epochs"][0]["images"]) == (
        "ok",
        {"name": "npy", "options": {}, "way": None},
        64,
    )


def test_rate_environment_advice_and_colours_know_it(installed: tuple[Environment, Path], tmp_path: Path) -> None:
    """It only declares itself: nothing of the harness names it."""
    environment, _ = installed
    folders = ("--data-dir", tmp_path, "--out", tmp_path / "out")
    short = ("--limit", "64", "--repeats", "1", "--batches", "10")
    said = environment.run("-m", "bench", "rate", "npy", "digits", *short, *folders).stdout
    assert "(npy_loader.plain)" in said
    (path,) = (tmp_path / "out").glob("*.json")
    assert json.loads(path.read_text())["environment"]["packages"]["loader-bench-npy"] == "0.1.0"
    program = (
        "from pathlib import Path\n"
        "from types import SimpleNamespace\n"
        "import torch\n"
        "from bench.advise.candidates import candidates\n"
        "from bench.report.figures.looks import looks\n"
        "from bench.sources.registry import open_source\n"
        "print(*[each.label for each in candidates(open_source('digits', Path('.')), 1, torch.device('cpu'))])\n"
        "cells = [SimpleNamespace(label=name, loader=name) for name in ('mmap', 'npy')]\n"
        "print(*{look.colour for look in looks(cells, 'mmap').values()})\n"
    )
    labels, colours = environment.run("-c", program).stdout.splitlines()
    assert "npy" in labels.split()
    assert len(colours.split()) == 2


def test_this_environment_and_tree_are_untouched(installed: tuple[Environment, Path]) -> None:
    from loaders import loader_names

    assert "npy" not in loader_names()
    kept = {path.name for path in (ROOT / "tests" / "plugin_example").iterdir()} - {"__pycache__"}
    assert kept == {"pyproject.toml", "npy_loader.py", "test_npy_loader.py"}
