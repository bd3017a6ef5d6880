"""A sweep's file is read strictly and says where it is wrong; its plan is a seeded order of complete rounds."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch

from bench.config import RunConfig
from bench.errors import UsageError
from bench.sweep.config import SweepFile, line_of, read_sweep
from bench.sweep.plan import Folders, Plan, make_plan
from loaders import loader_names
from tests.sweeps import install

WHOLE = """name = "whole"
title = "A title"
repeats = 3
seed = 7
timeout_s = 60

[run]
epochs = 2
limit = 10
device = "cpu"

[[data]]
dataset = "cifar10"
synthetic = true
fraction = 0.1

[[matrix]]
loader = ["mmap", "hdf5"]
dataset = ["digits", "cifar10"]
cache = ["cold", "warm"]
workers = 0

[[matrix]]
loader = "memory"
dataset = "digits"
options = [{}, {encoding = "raw", threads = 2}]
batch_size = [64, 128]
epochs = 1
"""


def read(folder: Path, text: str) -> SweepFile:
    path = folder / "some.toml"
    path.write_text(text)
    return read_sweep(path)


def plan(folder: Path, text: str, limit: int | None = None) -> Plan:
    return make_plan(read(folder, text), Folders(folder / "data", folder / "stores"), limit)


def test_each_block_is_a_full_product_over_its_lists(tmp_path: Path) -> None:
    cells = plan(tmp_path, WHOLE).cells
    first = {(c.config.loader, c.config.dataset, c.config.cache) for c in cells if c.config.loader != "memory"}
    assert first == {(a, b, c) for a in ("mmap", "hdf5") for b in ("digits", "cifar10") for c in ("cold", "warm")}
    second = [(c.config.batch_size, c.config.options) for c in cells if c.config.loader == "memory"]
    assert len(second) == 4
    assert (64, {"encoding": "raw", "threads": 2}) in second
    assert len(cells) == 12


def test_a_block_s_settings_go_before_the_shared_ones_and_those_before_the_defaults(tmp_path: Path) -> None:
    by_loader = {cell.config.loader: cell.config for cell in plan(tmp_path, WHOLE).cells}
    assert (by_loader["mmap"].epochs, by_loader["memory"].epochs) == (2, 1)
    assert by_loader["memory"].limit == 10
    assert by_loader["memory"].momentum == RunConfig.model_fields["momentum"].default
    assert {cell.config.limit for cell in plan(tmp_path, WHOLE, limit=5).cells} == {5}


def test_a_run_of_a_sweep_is_named_as_the_same_run_by_itself(tmp_path: Path) -> None:
    run = next(run for run in plan(tmp_path, WHOLE).runs if run.config.loader == "memory")
    alone = RunConfig(**run.config.model_dump())
    assert alone.run_id == run.config.run_id
    assert run.config.repeat == int(run.label.rsplit(" ", 1)[1]) - 1


def test_every_round_has_every_cell_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    rounds = plan(tmp_path, WHOLE).rounds
    orders = [[run.cell for run in members] for members in rounds]
    assert [len(set(order)) for order in orders] == [12] * 3
    assert len({tuple(order) for order in orders}) == 3
    assert [{run.config.repeat for run in members} for members in rounds] == [{0}, {1}, {2}]
    names = [run.config.run_id for members in rounds for run in members]
    assert len(set(names)) == 36


def test_the_order_follows_from_the_seed_alone(tmp_path: Path) -> None:
    def order(text: str) -> list[str]:
        return [run.label for run in plan(tmp_path, text).runs]

    assert order(WHOLE) == order(WHOLE)
    other = order(WHOLE.replace("seed = 7", "seed = 8"))
    assert other != order(WHOLE)
    assert sorted(other) == sorted(order(WHOLE))
    # A sweep that is prolonged keeps the rounds that it has.
    assert order(WHOLE.replace("repeats = 3", "repeats = 4"))[:36] == order(WHOLE)


def test_a_star_is_every_registered_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "packages", monkeypatch, trouble="tests.trouble_loader:TroubleFormat", gone="no_such:Thing")
    cells = plan(tmp_path, 'name = "x"\n[[matrix]]\nloader = "*"\ndataset = "digits"\n').cells
    assert [cell.config.loader for cell in cells] == [*loader_names()]
    assert {"trouble", "gone"} <= set(loader_names())
    reasons = {cell.config.loader: cell.unavailable for cell in cells}
    assert reasons["memory"] is None
    assert "no_such" in (reasons["gone"] or "")
    if not torch.cuda.is_available():
        assert "CUDA" in (reasons["gpu_mmap"] or "")


def test_what_does_not_fit_is_left_out_where_the_block_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "packages", monkeypatch, trouble="tests.trouble_loader:TroubleFormat")
    head = 'name = "x"\n[run]\ndevice = "cpu"\n[[matrix]]\ndataset = "digits"\n'
    option = "loader filesystem has no option 'encoding'"
    for block, line, sentence, left in (
        ('loader = ["filesystem", "mmap"]\noptions = {encoding = "raw"}\n', 7, option, ["mmap"]),
        ('loader = "trouble"\nworkers = [0, 8]\n', 7, "loader trouble takes at most 4 workers, not 8", ["trouble"]),
        ('loader = "mmap"\ncuda_graphs = [false, true]\n', 7, "CUDA graphs are for a CUDA device, not for", ["mmap"]),
    ):
        with pytest.raises(UsageError, match=rf"some.toml, line {line}: {sentence}"):
            plan(tmp_path, head + block)
        laid_out = plan(tmp_path, head + block + "skip_unfitting = true\n")
        assert [cell.config.loader for cell in laid_out.cells] == left, block
        (why,) = laid_out.left_out
        assert why.startswith(sentence)


def test_a_secret_option_stands_in_no_configuration(tmp_path: Path) -> None:
    dsn = "postgresql://someone:hunter2@127.0.0.1/db"
    (cell,) = plan(
        tmp_path, f'name = "x"\n[[matrix]]\nloader = "postgres"\ndataset = "digits"\noptions = {{dsn = "{dsn}"}}\n'
    ).cells
    assert cell.options == {"dsn": dsn}
    assert "hunter2" not in cell.config.model_dump_json() + cell.label


# What is replaced in WHOLE, by what, the line that the message must name, and its words.
WRONG = [
    ('name = "whole"', "name = ", 1, "invalid value"),
    ('name = "whole"', 'name = "../x"', 1, "name: string should match"),
    ('name = "whole"', 'name = "whole"\ncolour = "red"', 2, "no key 'colour'"),
    ("repeats = 3", "repeats = 0", 3, "repeats: input should be greater"),
    ("repeats = 3", "repeats = true", 3, "repeats: input should be a valid integer"),
    ("repeats = 3", "repeats = 3.0", 3, "repeats: input should be a valid integer"),
    ("timeout_s = 60", "timeout_s = -1", 5, "timeout_s"),
    ("timeout_s = 60", "timeout_s = true", 5, "timeout_s: input should be a valid number"),
    ("epochs = 2", "epochs = true", 8, "run.epochs: input should be a valid integer"),
    ("epochs = 2", "lr = '0.1'", 8, "run.lr: input should be a valid number"),
    ("epochs = 2", "amp = 1", 8, "run.amp: input should be a valid boolean"),
    ("epochs = 2", "source = {resize = true}", 8, "resize True: input should be a valid integer"),
    ("synthetic = true", "synthetic = 1", 14, "data.synthetic: input should be a valid boolean"),
    ("workers = 0", "workers = [0, true]", 21, "matrix.workers: input should be a valid integer"),
    ("workers = 0", "skip_unfitting = 1", 21, "matrix.skip_unfitting: input should be a valid boolean"),
    ("threads = 2", "threads = true", 26, "option 'threads' of loader memory: input should be a valid integer"),
    ("epochs = 2", "epochs = [2]", 8, "run.epochs"),
    ("epochs = 2", "repeat = 2", 8, "no key 'repeat' in run"),
    ("synthetic = true\n", "", 12, "fraction goes with synthetic"),
    ("fraction = 0.1", "fraction = 2", 15, "data.fraction"),
    ("workers = 0", 'workers = "many"', 21, "matrix.workers"),
    ("workers = 0", "worker = 0", 21, "no key 'worker' in matrix"),
    ('cache = ["cold", "warm"]', 'cache = ["cold", "hot"]', 20, "'cold', 'warm' or 'as-is'"),
    ('cache = ["cold", "warm"]', "cache = []", 20, "empty list"),
    ('loader = "memory"\n', "", 23, "matrix.loader is missing"),
    ('loader = "memory"', 'loader = "nosuch"', 24, "no loader is called 'nosuch'"),
    ('dataset = "digits"', 'dataset = "nosuch"', 25, "no dataset is called 'nosuch'"),
    ("threads = 2", "thread = 2", 26, "no option 'thread'"),
    ("threads = 2", 'threads = "no"', 26, "option 'threads' of loader memory"),
    ("batch_size = [64, 128]", "batch_size = [64, 64]", 23, "asked for twice"),
    ('raw", threads = 2', 'raw", threads = 0', 23, "asked for twice"),
]


def test_a_mistake_is_one_sentence_with_file_and_line(tmp_path: Path) -> None:
    wrong = list(WRONG)
    if not torch.cuda.is_available():
        wrong.append(('device = "cpu"', 'device = "cuda"', 10, "PyTorch finds no CUDA device"))
    for old, new, line, words in wrong:
        assert WHOLE.count(old) == 1
        with pytest.raises(UsageError) as error:
            plan(tmp_path, WHOLE.replace(old, new))
        text = str(error.value)
        assert text.startswith(f"{tmp_path / 'some.toml'}, line {line}: "), (new, text)
        assert words in text, (new, text)
        assert "\n" not in text
    with pytest.raises(UsageError, match=re.escape("some.toml: name is missing")):  # nowhere, and so in no line
        read(tmp_path, '[[matrix]]\nloader = "mmap"\ndataset = "digits"\n')


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*nosuch"):
        read_sweep(tmp_path / "nosuch.toml")
    (tmp_path / "latin.toml").write_bytes('name = "caf\xe9"'.encode("latin-1"))
    with pytest.raises(UsageError, match="not UTF-8"):
        read_sweep(tmp_path / "latin.toml")
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(UsageError, match=r"cannot read .*pipe.toml: it is not a regular file; give the file"):
        read_sweep(tmp_path / "pipe.toml")
    with pytest.raises(UsageError, match=r"cannot read .*: Is a directory; give the file of a sweep"):
        read_sweep(tmp_path)
    for value in ("[" * 3000, "{a=" * 3000, "9" * 5000):
        with pytest.raises(
            UsageError, match=r"some.toml has a number too long or brackets too deep to be read; shorten"
        ):
            read(tmp_path, f"seed = {value}")


def test_a_byte_order_mark_any_line_ends_and_whole_numbers_are_read(tmp_path: Path) -> None:
    text = WHOLE.replace("\n", "\r\n").encode("utf-8-sig")
    (tmp_path / "marked.toml").write_bytes(text)
    assert read_sweep(tmp_path / "marked.toml").config == read(tmp_path, WHOLE).config
    assert read(tmp_path, WHOLE.replace("epochs = 2", "lr = 1")).config.run.given()["lr"] == 1.0


def test_lines_are_found_in_any_array_of_tables() -> None:
    lines: list[str] = []
    numbers: dict[tuple[str | int, ...], int] = {}
    for block in range(4):
        lines.append(f"{'  ' * (block % 2)}[[matrix]]  # a comment")
        numbers[("matrix", block)] = len(lines)
        for key in range(block):
            lines.append(f'  "k-{key}" = [' if key % 2 else f"k-{key} = 1")
            numbers[("matrix", block, f"k-{key}")] = len(lines)
            lines += ["", "1, # k-9 = 2", "]"] if key % 2 else []
    for loc, number in numbers.items():
        assert line_of("\n".join(lines), loc) == f", line {number}", loc
        assert line_of("\n".join(lines), (*loc, "deeper")) == f", line {number}", loc
