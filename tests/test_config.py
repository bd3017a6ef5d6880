"""Configurations are closed, and a run's name depends on each of their settings."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bench.config import AnyConfig, RateConfig, RunConfig, Settings, build
from bench.errors import UsageError

OTHER: dict[str, Any] = {
    "loader": "hdf5",
    "options": {"chunk": 2},
    "dataset": "cifar10",
    "limit": 10,
    "batch_size": 64,
    "seed": 1,
    "workers": 2,
    "start_method": "spawn",
    "prefetch": 2,
    "threads": 4,
    "device": "cuda",
    "repeat": 1,
    "model": "resnet18",
    "epochs": 5,
    "lr": 0.05,
    "momentum": 0.8,
    "weight_decay": 0.0,
    "cache": "as-is",
    "ceiling_steps": 10,
    "rate_batches": 0,
    "channels_last": True,
    "amp": True,
    "deterministic": False,
    "label_smoothing": 0.1,
    "compile": True,
    "cuda_graphs": True,
    "in_flight": 3,
    "batches": 7,
    "repeats": 3,
    "image_size": 64,
    "source": {"resize": 64},
}
PLAIN = {"loader": "mmap", "dataset": "digits"}


@pytest.mark.parametrize("kind", [RunConfig, RateConfig])
def test_the_name_of_a_run_depends_on_every_setting(kind: type[Settings]) -> None:
    names = {kind(**PLAIN).run_id}
    changed = set(kind.model_fields) - {"command"}
    for field in changed:
        names.add(kind(**{**PLAIN, field: OTHER[field]}).run_id)
    assert len(names) == 1 + len(changed)
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in names)


def test_a_run_and_a_rate_have_different_names() -> None:
    assert RunConfig(**PLAIN).run_id != RateConfig(**PLAIN).run_id


def test_the_name_of_a_run_does_not_change_between_versions() -> None:
    """A sweep finds its runs by name: with another value here, it does all of them again."""
    options = {"b": 1, "a": "x"}
    config = RunConfig(loader="hdf5", dataset="cifar10", options=options, seed=3, device="cpu")
    assert config.run_id == "885b95a172b36d72"
    usual = {"label_smoothing": 0.0, "compile": False, "cuda_graphs": False, "in_flight": 2, "image_size": None}
    assert RunConfig(**{**dict(config), **usual}).run_id == config.run_id
    assert RunConfig(**{**dict(config), "options": dict(reversed(options.items()))}).run_id == config.run_id


configs = st.builds(
    RunConfig,
    loader=st.text(min_size=1, max_size=5),
    dataset=st.text(min_size=1, max_size=5),
    options=st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3) | st.booleans(), max_size=2),
    limit=st.none() | st.integers(1, 10**6),
    seed=st.integers(0, 2**63 - 1),
    lr=st.floats(1e-9, 1e9),
    weight_decay=st.floats(0, 1e9),
)


@given(configs)
def test_json_gives_the_same_configuration_and_name(config: RunConfig) -> None:
    again: Any = TypeAdapter(AnyConfig).validate_json(config.model_dump_json())
    assert again == config
    assert again.run_id == config.run_id


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"batch_size": 0}, "--batch-size 0: input should be greater than or equal to 1"),
        ({"workers": -1}, "--workers -1: input should be greater than or equal to 0"),
        ({"epochs": 0}, "--epochs 0: input should be greater than or equal to 1"),
        ({"lr": 0.0}, "--lr 0.0: input should be greater than 0"),
        ({"lr": math.nan}, "--lr nan: input should be a finite number"),
        ({"lr": math.inf}, "--lr inf: input should be a finite number"),
        ({"in_flight": 0}, "--in-flight 0: input should be greater than or equal to 1"),
        ({"label_smoothing": 1.0}, "--label-smoothing 1.0: input should be less than 1"),
        ({"seed": 2**63}, f"--seed {2**63}: input should be less than {2**63}"),
        ({"start_method": "forkserver"}, "--start-method 'forkserver': input should be 'fork' or 'spawn'"),
        ({"cache": "hot"}, "--cache 'hot': input should be 'cold', 'warm' or 'as-is'"),
        ({"colour": 1}, "--colour 1: extra inputs are not permitted"),
    ],
    ids=str,
)
def test_a_mistake_is_named_as_on_the_command_line(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(RunConfig, **{**PLAIN, **values})
    assert str(caught.value) == sentence


def test_every_option_is_named_as_the_command_line_names_it() -> None:
    """A field that has an underscore has a hyphen there."""
    for field in (set(RunConfig.model_fields) | set(RateConfig.model_fields)) - {"command", "loader", "dataset"}:
        kind = RunConfig if field in RunConfig.model_fields else RateConfig
        with pytest.raises(UsageError) as caught:
            build(kind, **{**PLAIN, field: object()})
        assert str(caught.value).startswith(f"--{field.replace('_', '-')} "), field


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RunConfig(**PLAIN).seed = 3  # type: ignore[misc]
