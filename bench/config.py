"""What a run is asked to do: typed, frozen, and an unknown key is an error."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import UsageError

Model = Literal["convnet", "resnet18", "densenet121", "resnet9"]
Device = Literal["auto", "cpu", "cuda"]
StartMethod = Literal["fork", "spawn"]
CacheState = Literal["cold", "warm", "as-is"]

C = TypeVar("C", bound=BaseModel)

LATER = frozenset({"image_size", "source", "label_smoothing", "compile", "cuda_graphs", "in_flight"})
"""Settings that came later than the names of runs: left out of these as long as they are as usual."""


class Settings(BaseModel):
    """What both a training run and a rate measurement need.

    Attributes:
        loader: name of the loader.
        options: the loader's options as they may stand in a record; secrets are passed apart.
        dataset: name of the dataset.
        limit: most samples taken of each split, or None.
        batch_size: samples per batch.
        seed: fixes order, augmentation and initial weights.
        workers: DataLoader worker processes; 0 reads in the training process.
        start_method: how worker processes start.
        prefetch: batches read ahead: by a thread with 0 workers, else by each worker. 0 reads on demand with 0 workers,
            and leaves PyTorch's own default of 2 to the workers.
        threads: threads of PyTorch's operators; 0 takes every core this process may use.
        device: where training runs.
        repeat: number of the repetition; part of the run's identity.
        image_size: side in pixels of the square crops of images of many sizes; None where they have one size.
        source: `SourceOptions` of a source of images of many sizes, as far as they are not as usual.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    loader: str
    options: dict[str, Any] = {}
    dataset: str
    limit: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=128, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**63)
    workers: int = Field(default=0, ge=0, le=256)
    start_method: StartMethod = "fork"
    prefetch: int = Field(default=0, ge=0, le=64)
    threads: int = Field(default=0, ge=0, le=1024)
    device: Device = "auto"
    repeat: int = Field(default=0, ge=0)
    image_size: int | None = Field(default=None, ge=8, le=4096)
    source: dict[str, Any] = {}

    @property
    def run_id(self) -> str:
        """Sixteen hex digits that depend on every setting and on the repetition."""
        fields = type(self).model_fields
        usual = {name for name in LATER & fields.keys() if getattr(self, name) == fields[name].default}
        text = json.dumps(self.model_dump(mode="json", exclude=usual), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class RunConfig(Settings):
    """One training run.

    Attributes:
        model: name of the network.
        epochs: training epochs.
        lr: peak learning rate of the one-cycle schedule.
        momentum: Nesterov momentum.
        weight_decay: L2 penalty.
        label_smoothing: share of each label that is spread over all classes.
        cache: ``warm`` makes an untimed pass over the data first; ``cold`` evicts the store before every epoch;
            ``as-is`` does neither.
        ceiling_steps: steps on batches that lie on the device already, to know the best that any loader could do; 0:
            none.
        rate_batches: most batches in each of the three repetitions that measure the loader without training, after the
            epochs; 0: none.
        channels_last: memory format of the network.
        amp: bfloat16 mixed precision.
        deterministic: PyTorch's deterministic algorithms.
        compile: the network, with conversion and augmentation, by PyTorch's compiler; evaluation is not compiled.
        cuda_graphs: capture a whole training step and replay it for each full batch.
        in_flight: batches that may be on their way to a CUDA device or in use there at once; a CPU needs none.
    """

    command: Literal["run"] = "run"
    model: Model = "convnet"
    epochs: int = Field(default=3, ge=1, le=100_000)
    lr: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    cache: CacheState = "warm"
    ceiling_steps: int = Field(default=50, ge=0, le=100_000)
    rate_batches: int = Field(default=200, ge=0)
    channels_last: bool = False
    amp: bool = False
    deterministic: bool = True
    compile: bool = False
    cuda_graphs: bool = False
    in_flight: int = Field(default=2, ge=1, le=16)


class RateConfig(Settings):
    """One measurement of a loader without training.

    Attributes:
        batches: batches per repetition; 0 means one pass over the split.
        repeats: repetitions of the loader and of its raw idiom, in turns.
    """

    command: Literal["rate"] = "rate"
    batches: int = Field(default=0, ge=0)
    repeats: int = Field(default=5, ge=1, le=1000)


AnyConfig = Annotated[RunConfig | RateConfig, Field(discriminator="command")]


def build(kind: type[C], **values: Any) -> C:
    """Make a configuration from a command line.

    Raises:
        UsageError: the first value that is not allowed.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise UsageError(f"--{name.replace('_', '-')} {first['input']!r}: {first['msg'].lower()}") from None
