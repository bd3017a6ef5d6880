"""Configurations are closed, and a run's id depends on each of their settings."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter

from bench.cli.runs import _with_settings
from bench.config import EMULATED, AnyConfig, RateConfig, RunConfig, build
from bench.errors import UsageError
from bench.records import Foreign, read_records

ROOT = Path(__file__).parents[1]
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
    "accelerator": 2000,
    "wait": "spin",
    "speeds": "100,1000",
    "feed_slices": 3,
    "slice_batches": 9,
    "busy": 0.97,
}
READER: TypeAdapter[Any] = TypeAdapter(AnyConfig)
PLAIN = {"loader": "mmap", "dataset": "digits"}
ON_EMULATED = {"device": "emulated", "accelerator": "1000"}


def test_the_id_of_a_run_depends_on_every_setting() -> None:
    for kind in (RunConfig, RateConfig):
        ids = {kind(**PLAIN).run_id}
        changed = set(kind.model_fields) - {"command"}
        for field in changed:
            base = {**PLAIN, "device": "emulated", "accelerator": 1000} if field in EMULATED else PLAIN
            ids.add(kind(**{**base, field: OTHER[field]}).run_id)
        assert len(ids) == 1 + len(changed), kind
        assert all(len(run_id) == 16 and int(run_id, 16) >= 0 for run_id in ids)
    assert RunConfig(**PLAIN).run_id != RateConfig(**PLAIN).run_id


def test_the_id_of_a_run_does_not_change_between_versions() -> None:
    """A sweep finds its runs by id: with another value here, it does all of them again."""
    options = {"b": 1, "a": "x"}
    config = RunConfig(loader="hdf5", dataset="cifar10", options=options, seed=3, device="cpu")
    assert config.run_id == "885b95a172b36d72"
    usual = {"label_smoothing": 0.0, "compile": False, "cuda_graphs": False, "in_flight": 2, "image_size": None}
    assert RunConfig(**{**dict(config), **usual}).run_id == config.run_id
    assert RunConfig(**{**dict(config), "options": dict(reversed(options.items()))}).run_id == config.run_id


def test_committed_records_have_the_ids_of_their_configurations() -> None:
    found = 0
    for folder in (ROOT / "results", ROOT / "tests" / "data"):
        for item in read_records(folder):
            if not isinstance(item, Foreign) and item[1].schema_version > 1:
                path, record = item
                assert record.config.run_id == record.run_id == path.stem, path
                found += 1
    assert found > 100


def test_a_new_setting_is_an_option_and_leaves_earlier_ids_alone() -> None:
    class Later(RunConfig):
        pace: int = Field(3, ge=1, description="A setting that came later.")

    assert Later(**PLAIN).run_id == RunConfig(**PLAIN).run_id
    assert Later(**PLAIN, pace=4).run_id != RunConfig(**PLAIN).run_id
    command = _with_settings(Later)(lambda **_: None)
    option = inspect.signature(command).parameters["pace"]
    assert option.default == 3
    (flag,) = get_args(option.annotation)[1:]
    assert (flag.default, flag.help) == ("--pace", "A setting that came later.")


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


@settings(max_examples=30, deadline=None)
@given(configs)
def test_json_gives_the_same_configuration_and_id(config: RunConfig) -> None:
    again = READER.validate_json(config.model_dump_json())
    assert again == config
    assert again.run_id == config.run_id


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": 0}, "--batch-size 0: input should be greater than or equal to 1"),
    ({"workers": -1}, "--workers -1: input should be greater than or equal to 0"),
    ({"lr": 0.0}, "--lr 0.0: input should be greater than 0"),
    ({"lr": math.nan}, "--lr nan: input should be a finite number"),
    ({"lr": math.inf}, "--lr inf: input should be a finite number"),
    ({"label_smoothing": 1.0}, "--label-smoothing 1.0: input should be less than 1"),
    ({"seed": 2**63}, f"--seed {2**63}: input should be less than {2**63}"),
    ({"start_method": "forkserver"}, "--start-method 'forkserver': input should be 'fork' or 'spawn'"),
    ({"cache": "hot"}, "--cache 'hot': input should be 'cold', 'warm' or 'as-is'"),
    ({"colour": 1}, "--colour 1: extra inputs are not permitted"),
    (
        {"accelerator": "warp9"},
        "--accelerator 'warp9': neither a speed in images/s nor a profile; there are: resnet50-a100, resnet50-h100",
    ),
    ({"accelerator": "0"}, "--accelerator '0': a speed is a number of images/s above 0"),
    ({"accelerator": "-3"}, "--accelerator '-3': a speed is a number of images/s above 0"),
    ({"accelerator": "nan"}, "--accelerator 'nan': a speed is a number of images/s above 0"),
    ({"device": "emulated"}, "an emulated device needs an accelerator: images/s, or the name of a profile"),
    ({"accelerator": "100"}, "accelerator goes with device emulated; leave it out"),
    ({"speeds": "100,fast"}, "--speeds 'fast': input should be a valid number, unable to parse string as a number"),
    ({**ON_EMULATED, "model": "convnet"}, "an emulated device trains no network; leave out model"),
    ({**ON_EMULATED, "amp": True}, "an emulated device trains no network; leave out amp"),
]


def test_a_mistake_is_named_as_on_the_command_line() -> None:
    for values, sentence in MISTAKES:
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
