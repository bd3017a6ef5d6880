"""The shipped configurations are found by name, in the repository and in a wheel installed elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.shipped import ACCELERATORS, shipped_sweep
from tests.command import Bench

ROOT = Path(__file__).parents[1]


def test_a_name_stands_for_a_shipped_file_unless_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ACCELERATORS.read_bytes() == (ROOT / "configs" / "accelerators.toml").read_bytes()
    assert shipped_sweep(Path("demo")).read_bytes() == (ROOT / "configs" / "demo.toml").read_bytes()
    monkeypatch.chdir(tmp_path)
    for path in (Path("demo.toml"), Path("some/demo"), tmp_path / "demo"):
        assert shipped_sweep(path) == path
    Path("demo").write_text("one's own")
    assert shipped_sweep(Path("demo")) == Path("demo")
    for unknown in ("accelerators", "dmeo"):
        with pytest.raises(
            UsageError, match=f"there is no file {unknown} and no sweep of that name; there are: batch-"
        ):
            shipped_sweep(Path(unknown))


def test_a_sweep_by_name(bench: Bench) -> None:
    done = bench("sweep", "demo", "--dry-run")
    assert done.code == 0, done.err
    assert "runs in each of 5 rounds" in done.out
    wrong = bench("sweep", "dmeo")
    assert (wrong.code, len(wrong.err.splitlines())) == (2, 1)


def test_a_wheel_has_them(tmp_path: Path) -> None:
    build = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
    source = tmp_path / "source"
    files = subprocess.run(["git", "ls-files", "bench", "loaders", "configs", "pyproject.toml", "README.md", "LICENSE"],
                           cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()  # fmt: skip
    for name in files:
        place = source / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            place.symlink_to((ROOT / name).readlink())
        else:
            place.write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-W", "ignore", "-c", build, tmp_path], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    elsewhere = tmp_path / "elsewhere"
    zipfile.ZipFile(wheel).extractall(elsewhere)
    empty = tmp_path / "empty"
    empty.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "bench", "sweep", "demo", "--dry-run"],
        cwd=empty, env={**os.environ, "PYTHONPATH": str(elsewhere)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "runs in each of 5 rounds" in done.stdout
    assert not list(empty.iterdir())
