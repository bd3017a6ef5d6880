"""A sweep as its TOML file describes it: typed, frozen, and an unknown key is an error that names its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model, model_validator

from bench.config import RunConfig
from bench.errors import UsageError
from loaders import read_regular

ALL = "*"
"""In place of a loader's name: every loader that is registered."""

# What a block says in its own words, or what the sweep itself decides.
_NOT_SETTINGS = ("loader", "options", "dataset", "command", "repeat")


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


_Tables = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
"""TOML has lists in place of tuples."""


class _Strict(BaseModel):
    # Strict, since TOML has types of its own: ``true`` is not 1, and "3" is not 3.
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def _run_settings(*, lists: bool) -> dict[str, Any]:
    """Optional fields as ``RunConfig`` has them; with ``lists`` a value or a list of values."""
    fields: dict[str, Any] = {}
    for name, field in RunConfig.model_fields.items():
        if name in _NOT_SETTINGS:
            continue
        one: Any = Annotated[(field.annotation, Field(), *field.metadata)]
        many = Annotated[tuple[one, ...], Field(min_length=1), BeforeValidator(_listed)]
        fields[name] = (many if lists else one, None)
    return fields


class _Given(_Strict):
    """Settings of runs, of which only some are given."""

    def given(self) -> dict[str, Any]:
        """The settings that the file has, by name."""
        return {name: getattr(self, name) for name in _run_settings(lists=False) if name in self.model_fields_set}


class _Block(_Given):
    """A full product over lists.

    Attributes:
        loader: names of loaders, or ``"*"`` for every one that is registered.
        dataset: names of datasets.
        options: loader options; each table is one value of the product.
        skip_unfitting: leave out what a loader cannot do (an option, a number of workers, a device) instead of refusing
            the sweep. What the data cannot give, such as JPEG files, is refused in any case.
    """

    loader: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_listed)]
    dataset: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_listed)]
    options: Annotated[tuple[dict[str, Any], ...], Field(min_length=1), BeforeValidator(_listed)] = ({},)
    skip_unfitting: bool = False


if TYPE_CHECKING:  # the real ones have a field for each setting of a run
    Block = _Block
    Shared = _Given
else:
    Block = create_model("Block", __base__=_Block, **_run_settings(lists=True))
    Shared = create_model("Shared", __base__=_Given, **_run_settings(lists=False))


class DataConfig(_Strict):
    """What must lie in the data folder.

    Attributes:
        dataset: name of the dataset.
        synthetic: it must be a twin, which is made if nothing is there; otherwise it must not be one.
        fraction: share of the official count in the twin.
    """

    dataset: str
    synthetic: bool = False
    fraction: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _fraction_is_a_twin_s(self) -> Self:
        if "fraction" in self.model_fields_set and not self.synthetic:
            raise ValueError("fraction goes with synthetic = true; the official files come whole")
        return self


class SweepConfig(_Strict):
    """One sweep.

    Attributes:
        name: of the sweep and of its folder.
        title: what it is about, for people.
        repeats: rounds; every run is done once in each.
        seed: of the order within the rounds.
        timeout_s: seconds that a run, or the preparation of a store, may take.
        time_limit_s: seconds that the sweep may take; what is not done by then is left for another time.
        process: ``own``: each run has a process of its own; ``shared``: those of a round share one, which saves its
            start, and their records are flagged.
        run: settings that all runs share unless a block says otherwise.
        data: what must lie in the data folder.
        matrix: blocks of runs.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$")
    title: str = ""
    repeats: int = Field(default=1, ge=1, le=1000)
    seed: int = Field(default=0, ge=0, lt=2**63)
    timeout_s: float = Field(default=3600.0, gt=0)
    time_limit_s: float | None = Field(default=None, gt=0)
    process: Literal["own", "shared"] = "own"
    run: Shared = Shared()
    data: Annotated[tuple[DataConfig, ...], _Tables] = ()
    matrix: Annotated[tuple[Block, ...], Field(min_length=1), _Tables]


class SweepFile(NamedTuple):
    """A sweep with the file that describes it, so that what turns out wrong later can be placed, too."""

    path: Path
    text: str
    config: SweepConfig

    def wrong(self, loc: Sequence[str | int], what: str) -> UsageError:
        """The error that says where the fault is."""
        return UsageError(f"{self.path}{place_of(self.text, loc)}: {what}")


def read_sweep(path: Path) -> SweepFile:
    """Read a sweep's file.

    Raises:
        UsageError: it cannot be read, or something in it is wrong; says where.
    """
    try:
        text = read_regular(path).decode("utf-8-sig")  # some editors begin a file with a byte-order mark
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        found = re.match(r"line (\d+)", where)
        place = f", line {found[1]}" if found else ""
        raise UsageError(f"{path}{place}: {_lower(what)}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text; save it as such") from None
    except (ValueError, RecursionError):  # Python's own limits
        raise UsageError(f"{path} has a number too long or brackets too deep to be read; shorten it") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give the file of a sweep") from None
    try:
        return SweepFile(path, text, SweepConfig.model_validate(document))
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{path}{place_of(text, first['loc'])}: {_sentence(first)}") from None


def place_of(text: str, loc: Sequence[str | int]) -> str:
    """``, line N`` of a key, or of the nearest thing around it that stands in a line of its own; empty if none does.

    Args:
        text: the file.
        loc: names of tables and keys, with the index of a table after the name of its array.
    """
    best = ""
    tables: dict[str, int] = {}
    here: list[str | int] = []
    for number, line in enumerate(text.splitlines(), 1):
        if table := re.match(r"\s*(\[\[?)\s*([\w.-]+)\s*\]", line):
            here = list(table[2].split("."))
            if table[1] == "[[":
                tables[table[2]] = tables.get(table[2], -1) + 1
                here.append(tables[table[2]])
            path = here
        elif key := re.match(r"""\s*["']?([\w-]+)["']?\s*=""", line):
            path = [*here, key[1]]
        else:
            continue
        if path == list(loc[: len(path)]):
            best = f", line {number}"
    return best


def _sentence(error: Any) -> str:
    names = [str(part) for part in error["loc"] if isinstance(part, str)]
    name, message = ".".join(names), _lower(error["msg"].removeprefix("Value error, "))
    if error["type"] == "extra_forbidden":
        return f"there is no key {names[-1]!r}{' in ' + '.'.join(names[:-1]) if names[1:] else ''}"
    if error["type"] == "missing":
        return f"{name} is missing"
    if error["type"] == "too_short":
        return f"{name}: an empty list leaves nothing to run"
    return f"{name}: {message}" if name else message


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
