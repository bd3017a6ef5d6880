"""Options are closed and typed, and a user's mistake gets one sentence."""

from __future__ import annotations

from typing import Literal, Self

import pytest
from pydantic import ValidationError, model_validator

from loaders import (
    LoaderFaultError,
    LoaderOptions,
    OptionError,
    load,
    loader_names,
    parse_options,
    read_option,
    store_option,
)
from loaders.core.options import Encoding
from tests.stores import open_store


class Some(LoaderOptions):
    encoding: Encoding = store_option("raw")
    chunk: int = store_option(64, ge=1, description="rows of a chunk")
    level: Literal["low", "high"] = store_option("low")
    threads: int = read_option(0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.chunk > 100 and self.level == "high":
            raise ValueError("level=high needs chunk=100 or less")
        return self


def test_text_becomes_typed_values() -> None:
    options = parse_options(Some, {"chunk": "32", "threads": "2", "level": "high"}, "some")
    assert options == Some(chunk=32, threads=2, level="high")
    assert parse_options(Some, {}, "some") == Some()


def test_a_mistake_is_one_sentence() -> None:
    for options, sentence in (
        ({"chunks": "1"}, "loader some has no option 'chunks'; it has: chunk, encoding, level, threads"),
        ({"chunk": "0"}, "option 'chunk' of loader some: input should be greater than or equal to 1"),
        (
            {"chunk": "many"},
            "option 'chunk' of loader some: input should be a valid integer, unable to parse string as an integer",
        ),
        ({"level": "Low"}, "option 'level' of loader some: input should be 'low' or 'high'"),
        ({"encoding": "png"}, "option 'encoding' of loader some: input should be 'raw' or 'jpeg'"),
        ({"chunk": "101", "level": "high"}, "loader some: level=high needs chunk=100 or less"),
    ):
        with pytest.raises(OptionError) as caught:
            parse_options(Some, options, "some")
        assert str(caught.value) == sentence
    with pytest.raises(OptionError, match="it has: none"):
        parse_options(LoaderOptions, {"a": "1"}, "plain")


def test_options_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Some().chunk = 3  # type: ignore[misc]


def test_what_shapes_the_store() -> None:
    assert Some(chunk=5, threads=3).stored() == {"encoding": "raw", "chunk": 5, "level": "low"}
    assert Some(threads=3).stored() == Some(threads=4).stored()
    assert Some(threads=3).public() == {"encoding": "raw", "chunk": 64, "level": "low", "threads": 3}


def test_an_undeclared_option_is_found() -> None:
    class Forgotten(LoaderOptions):
        chunk: int = 3

    with pytest.raises(LoaderFaultError, match=r"Forgotten\.chunk must be declared with store_option or read_option"):
        Forgotten().stored()


def test_every_loader_declares_and_describes_its_options() -> None:
    for name in loader_names():
        model = load(name).Options
        model().stored()
        assert all(field.description for field in model.model_fields.values()), name
        assert not any(field.is_required() for field in model.model_fields.values()), name


def test_a_dataset_refuses_another_loader_s_options() -> None:
    with pytest.raises(OptionError, match="loader mmap takes MmapOptions, not Some"):
        open_store(load("mmap"), "nowhere", "train", Some())
