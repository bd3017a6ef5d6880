"""What a run is asked to do: typed, frozen, and an unknown key is an error."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from bench.accelerators import Accelerator, find_accelerator
from bench.errors import UsageError

Model = Literal["convnet", "resnet18", "densenet121", "resnet9"]
Device = Literal["auto", "cpu", "cuda"]
RunDevice = Literal["auto", "cpu", "cuda", "emulated"]
CacheState = Literal["cold", "warm", "as-is"]

C = TypeVar("C", bound=BaseModel)

_IN_EVERY_ID = (
    "loader options dataset limit batch_size seed workers start_method prefetch threads device repeat command model "
    "epochs lr momentum weight_decay cache ceiling_steps rate_batches channels_last amp deterministic batches "
    "repeats"
)
"""Settings that every run id hashes. This list is frozen: any other setting counts only where it is not at its default,
so that a new one leaves the ids of earlier runs as they are."""


Speed = Annotated[float, Field(gt=0)]


def _listed(value: Any) -> Any:
    """Numbers with commas between them as a list."""
    if not isinstance(value, str):
        return value
    with contextlib.suppress(ValueError):  # the parts themselves, for the error to name
        return [float(part) for part in value.split(",") if part.strip()]
    return value.split(",")


class Settings(BaseModel):
    """What both a training run and a rate measurement need.

    A field with a description is an option of the command line, with the description as its help.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    loader: str
    options: dict[str, Any] = {}  # the loader's, as they may stand in a record; secrets are passed apart
    dataset: str
    limit: int | None = Field(None, ge=1, description="Take at most so many samples of each split.")
    batch_size: int = Field(128, ge=1, description="Samples per batch.")
    seed: int = Field(0, ge=0, lt=2**63, description="Fixes order, augmentation and initial weights.")
    workers: int = Field(0, ge=0, le=256, description="Worker processes; 0 reads in the training process.")
    start_method: Literal["fork", "spawn"] = Field("fork", description="How worker processes start.")
    prefetch: int = Field(0, ge=0, le=64, description="Batches read ahead, by a thread or by each worker.")
    threads: int = Field(0, ge=0, le=1024, description="Threads of PyTorch's operators; 0: one per core.")
    device: RunDevice = Field("auto", description="Where training runs; emulated: nothing is computed.")
    repeat: int = Field(0, ge=0, description="Number of this repetition; default: the first without a record in --out.")
    image_size: int | None = Field(
        None, ge=8, le=4096, description="Side of the square crops of images of many sizes; default 160."
    )
    source: dict[str, Any] = {}  # `SourceOptions` that are not at their defaults

    @property
    def run_id(self) -> str:
        """Sixteen hex digits that depend on every setting and on the repetition."""
        fields = type(self).model_fields
        later = fields.keys() - set(_IN_EVERY_ID.split())
        usual = {name for name in later if getattr(self, name) == fields[name].default}
        text = json.dumps(self.model_dump(mode="json", exclude=usual), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class RunConfig(Settings):
    """One training run, by SGD with Nesterov momentum on a one-cycle schedule; or one on an emulated accelerator."""

    command: Literal["run"] = "run"
    accelerator: Annotated[Accelerator | None, BeforeValidator(find_accelerator)] = Field(
        None, description="Which one is emulated: its images/s, or a profile."
    )
    wait: Literal["sleep", "spin"] = Field("sleep", description="How the host waits for an emulated one.")
    speeds: Annotated[list[Speed], BeforeValidator(_listed)] = Field(
        [], description="Images/s of others, for the curve of the busy share: A,B,…"
    )
    feed_slices: int = Field(8, ge=0, le=1000, description="Slices of the search for the feed rate; 0: none.")
    slice_batches: int = Field(50, ge=2, le=100_000, description="Batches of a slice.")
    busy: float = Field(0.9, gt=0, lt=1, description="Busy share that an emulated accelerator must reach.")
    model: Model | None = Field(None, description="Network to train; default convnet.")
    epochs: int = Field(3, ge=0, le=100_000, description="Training epochs; 0, of an emulated device: slices alone.")
    lr: float = Field(0.1, gt=0, description="Peak learning rate.")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share spread over all classes.")
    cache: CacheState = Field("warm", description="warm: an untimed pass first; cold: evicted first.")
    ceiling_steps: int = Field(50, ge=0, le=100_000, description="Steps without a data path; 0: none.")
    rate_batches: int = Field(200, ge=0, description="Batches without training; 0: none.")
    channels_last: bool = Field(False, description="Memory format of the network.")
    amp: bool = Field(False, description="bfloat16 mixed precision.")
    deterministic: bool = Field(True, description="PyTorch's deterministic algorithms.")
    compile: bool = Field(False, description="Compile the network.")
    cuda_graphs: bool = Field(False, description="Capture a step and replay it.")
    in_flight: int = Field(2, ge=1, le=16, description="Batches on a CUDA or emulated device at once.")

    @model_validator(mode="before")
    @classmethod
    def _with_a_network(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("device") != "emulated" and values.get("model") is None:
            return {**values, "model": "convnet"}
        return values

    @model_validator(mode="after")
    def _one_kind_of_device(self) -> Self:
        """An emulated accelerator trains nothing, and others are what they are."""
        fields = type(self).model_fields
        given = {name for name in fields if getattr(self, name) != fields[name].default}
        if self.epochs == 0 and not self.feed_slices and not self.speeds:
            raise ValueError("nothing is left to measure; give epochs, slices of the search or speeds")
        if self.device != "emulated":
            if self.epochs == 0:
                raise ValueError("training needs at least one epoch")
            if useless := sorted(given & EMULATED):
                raise ValueError(f"{_spelt(useless[0])} goes with device emulated; leave it out")
        elif self.accelerator is None:
            raise ValueError("an emulated device needs an accelerator: images/s, or the name of a profile")
        elif useless := sorted(given & _TRAINING):
            raise ValueError(f"an emulated device trains no network; leave out {_spelt(useless[0])}")
        return self


EMULATED = {"accelerator", "wait", "speeds", "feed_slices", "slice_batches", "busy"}
"""Settings of emulated devices alone."""
_TRAINING = {
    *("model", "lr", "momentum", "weight_decay", "label_smoothing"),
    *("channels_last", "amp", "compile", "cuda_graphs"),
}


def _spelt(name: str) -> str:
    return name.replace("_", "-")


class RateConfig(Settings):
    """One measurement of a loader without training."""

    command: Literal["rate"] = "rate"
    device: Device = Field("auto", description="Where batches go.")
    batches: int = Field(0, ge=0, description="Batches a repetition; 0: the whole split.")
    repeats: int = Field(5, ge=1, le=1000, description="Repetitions of the loader and of its plain idiom, in turns.")


AnyConfig = Annotated[RunConfig | RateConfig, Field(discriminator="command")]


def build(kind: type[C], **values: Any) -> C:
    """Make a configuration from a command line; `UsageError` names the first value that is not allowed."""
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:  # about several settings
            raise UsageError(message) from None
        message = message[:1].lower() + message[1:]
        raise UsageError(f"--{_spelt(str(first['loc'][0]))} {first['input']!r}: {message}") from None
