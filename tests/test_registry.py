"""Loaders are found by name, and one that cannot be imported says what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.run.doctor import why_unavailable
from loaders import BUILT_IN, Format, UnavailableError, UnknownLoaderError, load, loader_names
from loaders.registry import LoaderSpec
from tests.command import Bench


def test_every_built_in_loader_has_its_own_name() -> None:
    for name in BUILT_IN:
        format_ = load(name)
        assert issubclass(format_, Format)
        assert format_.name == name


def test_an_unknown_name() -> None:
    with pytest.raises(UnknownLoaderError) as caught:
        load("tape")
    assert str(caught.value) == f"no loader is called 'tape'; there are: {', '.join(loader_names())}"


def test_a_loader_whose_backend_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "loaders.formats.hdf5.format", raising=False)
    monkeypatch.delitem(sys.modules, "loaders.formats.hdf5.io", raising=False)
    monkeypatch.setitem(sys.modules, "h5py", None)  # what Python itself does for a module that must not be found
    with pytest.raises(UnavailableError) as caught:
        load("hdf5")
    assert str(caught.value) == "loader hdf5 needs h5py, which is missing: pip install h5py"
    assert why_unavailable("hdf5") == str(caught.value)
    assert load("mmap").name == "mmap"


def test_a_target_that_is_no_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    for target, sentence in (
        ("no_such_module_at_all:Loader", "needs no_such_module_at_all, which is missing: pip install it"),
        (
            "loaders.formats.mmap:Tape",
            "cannot be imported (AttributeError: module 'loaders.formats.mmap' has no attribute 'Tape')",
        ),
        ("loaders.store.arrays:Path", "loaders.store.arrays:Path is not a subclass of loaders.Format"),
        ("loaders.store.arrays:write_arrays", "is not a subclass of loaders.Format"),
    ):
        monkeypatch.setitem(BUILT_IN, "tape", LoaderSpec(target, "pip install it"))
        with pytest.raises(UnavailableError, match="loader tape") as caught:
            load("tape")
        assert sentence in str(caught.value)


def install(folder: Path, name: str, entry: str, code: str, requires: tuple[str, ...] = ()) -> None:
    """What an installed package leaves on the path: a module and its metadata."""
    (folder / f"{name}.py").write_text(code)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n" + needs)
    (metadata / "entry_points.txt").write_text(f"[bench.loaders]\n{entry}\n")


def test_plug_ins_are_listed_after_the_built_in_loaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from loaders.formats.mmap import MmapFormat as Other\n"
    install(tmp_path, "zzz_plugin", "zebra = zzz_plugin:Other", code)
    install(tmp_path, "aaa_plugin", "ant = aaa_plugin:Other", code)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert loader_names() == [*BUILT_IN, "ant", "zebra"]
    assert load("zebra") is load("mmap")


def test_a_plug_in_cannot_take_a_built_in_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "thief_plugin", "mmap = thief_plugin:Thief", "Thief = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert loader_names() == list(BUILT_IN)
    assert load("mmap").name == "mmap"


def test_a_broken_plug_in_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    install(tmp_path, "broken_plugin", "broken = broken_plugin:Loader", "raise RuntimeError('no licence')\n")
    install(tmp_path, "odd_plugin", "odd = odd_plugin:Loader", "Loader = 3\n")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from bench.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program, "loaders"], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "mmap: available" in lines
    again = "reinstall the package that provides the loader 'broken'"
    reason = f"loader broken cannot be imported (RuntimeError: no licence): {again}"
    whole = " ".join(line.strip() for line in lines)
    assert f"broken: unavailable: {reason}" in whole
    assert "odd: unavailable: loader odd: odd_plugin:Loader is not a subclass" in whole


def test_a_plug_in_that_is_not_finished_says_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from loaders import Format\nclass Half(Format):\n    def open(self, store, split): pass\n"
    install(tmp_path, "half_plugin", "half = half_plugin:Half", code)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UnavailableError, match="lacks name, write; its author"):
        load("half")


def test_a_plug_in_says_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requires = ("numpy", 'No-such>=2,<3; python_version > "3"', "no-such-cloud ; extra == 'cloud'")
    install(tmp_path, "lacking_plugin", "lacking = lacking_plugin:Loader", "", requires)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the module changes within a second
    for code, reason in (
        ("import no_such_array", "needs no_such_array, which is missing: pip install no_such_array"),
        ("import no_such_array.io", "needs no_such_array, which is missing: pip install no_such_array"),
        ("import no_such.codecs", "needs no_such, which is missing: pip install 'No-such>=2,<3'"),
        ("import no_such_cloud", "needs no_such_cloud, which is missing: pip install 'lacking_plugin[cloud]'"),
        ("import numpy.no_such_part", "needs numpy.no_such_part, which is missing: pip install --upgrade numpy"),
        (
            "import lacking_plugin.part",
            "needs lacking_plugin.part, which is missing: reinstall the package that provides the loader 'lacking'",
        ),
        (
            "from numpy import no_such_name",
            "cannot be imported (ImportError: cannot import name 'no_such_name' from 'numpy'",
        ),
        ("raise SystemExit('not here')", "cannot be imported (SystemExit: not here): reinstall"),
    ):
        (tmp_path / "lacking_plugin.py").write_text(f"{code}\n")
        monkeypatch.delitem(sys.modules, "lacking_plugin", raising=False)
        with pytest.raises(UnavailableError) as caught:
            load("lacking")
        assert str(caught.value).startswith(f"loader lacking {reason}")


def test_a_plug_in_that_is_slow_to_import_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    code = "import time; time.sleep(2.1)\nfrom loaders.formats.mmap import MmapFormat as Loader\n"
    install(tmp_path, "slow_plugin", "slow = slow_plugin:Loader", code)
    monkeypatch.syspath_prepend(str(tmp_path))
    lines = bench("loaders").out.splitlines()
    assert lines[lines.index("slow: available") + 1].startswith("    importing it took 2.")
    assert sum("importing it took" in line for line in lines) == 1


def test_names_cost_no_import() -> None:
    program = "import sys, loaders; loaders.loader_names(); print([m for m in ('h5py', 'psycopg') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
