"""The TOML file of a sweep: typed, frozen, and a wrong key or value is an error that names its line."""

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

# A block has keys of its own for these, or the sweep decides them.
_NOT_SETTINGS = {"loader", "options", "dataset", "skip_unfitting", "repeats", "command", "repeat"}

_as_list = BeforeValidator(lambda value: value if isinstance(value, list) else [value])


class _Strict(BaseModel):
    # Strict, since TOML has types of its own: ``true`` is not 1, and "3" is not 3.
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def _run_settings(*, lists: bool) -> dict[str, Any]:
    """Optional fields as ``RunConfig`` has them; with ``lists`` each takes a value or a list of values."""
    fields: dict[str, Any] = {}
    for name, field in RunConfig.model_fields.items():
        if name not in _NOT_SETTINGS:
            one: Any = Annotated[(field.annotation, Field(), *field.metadata)]
            fields[name] = (Annotated[list[one], Field(min_length=1), _as_list] if lists else one, None)
    return fields


class _Given(_Strict):
    """Settings of runs, all of them optional."""

    def given(self) -> dict[str, Any]:
        """The settings that the file has, by name."""
        return {name: value for name, value in self if name in self.model_fields_set - _NOT_SETTINGS}


class _Block(_Given):
    """A full product over lists."""

    loader: Annotated[list[str], Field(min_length=1), _as_list]  # names, or ALL
    dataset: Annotated[list[str], Field(min_length=1), _as_list]
    options: Annotated[list[dict[str, Any]], Field(min_length=1), _as_list] = [{}]  # of the loader
    repeats: int | None = Field(default=None, ge=1, le=1000)  # rounds, from the first, that have its runs; default all
    skip_unfitting: bool = False
    """Leave out what a loader cannot do (an option, a number of workers, a device) instead of refusing the sweep. What
    the data cannot give, such as JPEG files, is refused in any case."""


if TYPE_CHECKING:  # the real ones have a field for each setting of a run
    Block = _Block
    Shared = _Given
else:
    Block = create_model("Block", __base__=_Block, **_run_settings(lists=True))
    Shared = create_model("Shared", __base__=_Given, **_run_settings(lists=False))


class DataConfig(_Strict):
    """What the data folder must hold."""

    dataset: str
    synthetic: bool = False  # whether it must be a twin, which is made if nothing is there, or must not be one
    fraction: float = Field(default=1.0, gt=0, le=1)  # share of the official count in the twin

    @model_validator(mode="after")
    def _only_twins_have_a_fraction(self) -> Self:
        if "fraction" in self.model_fields_set and not self.synthetic:
            raise ValueError("fraction goes with synthetic = true; the official files come whole")
        return self


class SweepConfig(_Strict):
    """One sweep."""

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$")
    title: str = ""
    repeats: int = Field(default=1, ge=1, le=1000)  # rounds; every run is done once in each
    seed: int = Field(default=0, ge=0, lt=2**63)  # of the order within the rounds
    timeout_s: float = Field(default=3600.0, gt=0)  # of a run, and of the preparation of a store
    time_limit_s: float | None = Field(default=None, gt=0)  # runs that are not done by then are left out
    process: Literal["own", "shared", "turns"] = "own"
    """Of each run, or shared by the runs of a round, which saves starting one for each; with "turns" the slices of
    emulated runs come in a random order, so that what disturbs the machine meets all runs alike. Records say it."""
    run: Shared = Shared()  # settings of all runs; those of a block go before
    data: list[DataConfig] = []
    matrix: list[Block] = Field(min_length=1)


class SweepFile(NamedTuple):
    """A sweep with the text that describes it, so that an error found later can name its line, too."""

    path: Path
    text: str
    config: SweepConfig

    def error(self, loc: Sequence[str | int], what: str) -> UsageError:
        """The error with the file and the line of a key; see `line_of`."""
        return UsageError(f"{self.path}{line_of(self.text, loc)}: {what}")


def read_sweep(path: Path) -> SweepFile:
    """Read a sweep's file.

    Raises:
        UsageError: it cannot be read, or something in it is wrong; names the line.
    """
    try:
        text = read_regular(path).decode("utf-8-sig")  # some editors begin a file with a byte-order mark
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).partition(" (at ")
        line = re.match(r"line \d+", where)
        raise UsageError(f"{path}{f', {line[0]}' if line else ''}: {_lower(what)}") from None
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
        raise UsageError(f"{path}{line_of(text, first['loc'])}: {_sentence(first)}") from None


def line_of(text: str, loc: Sequence[str | int]) -> str:
    """``, line N`` of a key, or of the nearest table around it that has a line of its own; empty if there is none.

    ``loc`` has the names of tables and keys, with the index of a table after the name of its array.
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
