"""From a sweep's matrix to its runs: every cell once in each round, each round in an order of its own."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench.accelerators import Accelerator
from bench.config import RunConfig, build
from bench.errors import UsageError
from bench.run.stores import StoreSpec, spec_of
from bench.sources.base import SourceOptions
from bench.sources.folder import PREFIX
from bench.sources.registry import open_source
from bench.sweep.config import ALL, Block, SweepFile
from loaders import OptionError, UnavailableError, loader_names


class Folders(NamedTuple):
    """Absolute paths."""

    data: Path
    stores: Path


class Run(NamedTuple):
    """One combination of the matrix in one round."""

    config: RunConfig  # with the device resolved; ``repeat`` is the number of the round, from 0
    options: dict[str, Any]  # of the loader, as the file has them, secrets included
    spec: StoreSpec | None  # the loader over the dataset; None where the loader's class cannot be imported
    unavailable: str | None  # why the loader cannot run here
    dataset: str  # as `open_source` takes it; the settings may name it without its folder
    rounds: int = 0  # in how many rounds, from the first, it is done; 0: in all
    cell: str = ""  # what tells it from the other runs of its round, for people

    @property
    def label(self) -> str:
        """The cell and the round, for people."""
        return f"{self.cell}, round {self.config.repeat + 1}"


class Plan(NamedTuple):
    """What a sweep will do."""

    cells: list[Run]  # the matrix in the order of the file, as in the first round
    rounds: list[list[Run]]  # all runs, in the order in which they are done
    left_out: list[str]  # combinations that do not fit, where their block lets them be left out

    @property
    def runs(self) -> list[Run]:
        """All runs, in their order."""
        return [run for members in self.rounds for run in members]


def make_plan(file: SweepFile, folders: Folders, limit: int | None = None) -> Plan:
    """Lay out a sweep; ``limit`` overrides the file's limits.

    Raises:
        UsageError: what the file asks for does not exist, does not fit, or is asked for twice; names the line.
    """
    sweep = file.config
    shared = sweep.run.given()
    cells: dict[str, Run] = {}
    left_out: list[str] = []
    for number, block in enumerate(sweep.matrix):
        for settings, options in _product({"device": "auto", **shared}, block):
            if limit is not None:
                settings["limit"] = limit
            try:
                cell = _cell(settings, options, folders)
            except _CellError as error:
                if not (error.unfit and block.skip_unfitting):
                    is_shared = error.key in shared and error.key not in block.given()
                    table = ("run",) if is_shared else ("matrix", number)
                    raise file.error((*table, error.key), str(error)) from None
                left_out.append(str(error))
                continue
            if (block.repeats or 0) > sweep.repeats:
                text = f"repeats {block.repeats} of a block is more than the sweep's {sweep.repeats} rounds"
                raise file.error(("matrix", number, "repeats"), text)
            cell = cell._replace(rounds=block.repeats or 0)
            public = cell.options if cell.spec is None else cell.spec.options.public()
            identity = cell.config.model_copy(update={"options": public}).run_id  # equal for cells that do the same
            if cells.setdefault(identity, cell) is not cell:
                twice = _describe(cell, _varying([cell, *cells.values()]))
                raise file.error(("matrix", number), f"{twice} is asked for twice; leave it out once")
    if not cells:
        raise UsageError(f"{file.path}: nothing of the matrix fits its loaders, so there is nothing to run")
    by_device: dict[str, list[Run]] = {}
    for cell in cells.values():
        by_device.setdefault(cell.config.device, []).append(cell)
    told = {device: _varying(own) + ["device"] * (len(by_device) > 1) for device, own in by_device.items()}
    labelled = [cell._replace(cell=_describe(cell, told[cell.config.device])) for cell in cells.values()]
    rounds = []
    for number in range(sweep.repeats):
        members = [cell for cell in labelled if not cell.rounds or number < cell.rounds]
        runs = [cell._replace(config=cell.config.model_copy(update={"repeat": number})) for cell in members]
        # Each round is shuffled anew, so that no run always follows the same other one.
        random.Random(f"{sweep.seed} {number}").shuffle(runs)  # noqa: S311 - an order, no secret
        rounds.append(runs)
    return Plan(labelled, rounds, left_out)


class _CellError(Exception):
    """A value of a key that does not exist or, if ``unfit``, that this loader cannot do."""

    def __init__(self, key: str, text: str, *, unfit: bool = False) -> None:
        super().__init__(text)
        self.key, self.unfit = key, unfit


def _product(shared: Mapping[str, Any], block: Block) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Settings and loader options of each combination, the loader varying fastest."""
    names = dict.fromkeys(itertools.chain(*(loader_names() if name == ALL else [name] for name in block.loader)))
    lists = {"dataset": block.dataset, **block.given()}
    for combination in itertools.product(*lists.values(), block.options, names):
        *values, options, loader = combination
        yield {**shared, **dict(zip(lists, values, strict=True)), "loader": loader}, dict(options)


def _cell(settings: dict[str, Any], options: dict[str, Any], folders: Folders) -> Run:
    loader = settings["loader"]
    if loader not in loader_names():
        raise _CellError("loader", f"no loader is called {loader!r}; there are: {', '.join(loader_names())}")
    try:
        source_options = build(SourceOptions, **settings.get("source", {}))
        source = open_source(settings["dataset"], folders.data, source_options)
    except UsageError as error:
        raise _CellError("source" if settings.get("source") else "dataset", str(error)) from None
    settings["source"] = source_options.given()
    dataset = f"{PREFIX}{source.folder}" if settings["dataset"].startswith(PREFIX) else source.name
    settings["dataset"] = source.name
    cuda = torch.cuda.is_available()
    if settings["device"] == "cuda" and not cuda:
        raise _CellError("device", 'PyTorch finds no CUDA device here; say device = "auto" or "cpu"')
    if settings["device"] == "auto":
        settings["device"] = "cuda" if cuda else "cpu"
    try:
        spec, public = spec_of(loader, source, options, settings.get("limit"), folders.stores)
    except UnavailableError as error:
        return Run(_config(settings, options), options, None, str(error), dataset)
    except OptionError as error:
        raise _CellError("options", str(error), unfit=True) from None
    if source.ragged and not spec.loader.caps.ragged:
        text = f"loader {loader} keeps images of one size, and those of {source.name} differ"
        raise _CellError("loader", text, unfit=True)
    try:
        settings["image_size"] = spec.image_size(settings.get("image_size"))
    except UsageError as error:
        raise _CellError("image_size", str(error)) from None
    config = _config(settings, public)
    reason = spec.format.reason_unavailable()
    if reason is None and (misfit := spec.misfit(config)):
        raise _CellError(*misfit, unfit=True)
    return Run(config, options, spec, reason, dataset)


def _config(settings: Mapping[str, Any], options: Mapping[str, Any]) -> RunConfig:
    """The configuration, unless its settings do not go together."""
    try:
        return build(RunConfig, **settings, options=options)
    except UsageError as error:
        raise _CellError("device", str(error)) from None


def _varying(cells: Iterable[Run]) -> list[str]:
    """The settings in which the cells differ."""
    first, *others = [cell.config.model_dump(exclude={"loader", "dataset", "options"}) for cell in cells]
    return [name for name, value in first.items() if any(other[name] != value for other in others)]


def _describe(cell: Run, names: Iterable[str]) -> str:
    config = cell.config
    options = [f"{name}={value}" for name, value in config.options.items()]
    values = {name: getattr(config, name) for name in names}
    settings = [f"{name}={value.name if isinstance(value, Accelerator) else value}" for name, value in values.items()]
    return " ".join([config.loader, *options, config.dataset, *settings])
