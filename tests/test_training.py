"""Training learns, evaluation leaves the network as it was, and neither the way to the device nor a capture shows."""

from __future__ import annotations

import copy
import functools
import gc
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from bench.config import RunConfig
from bench.errors import BenchError
from bench.run import runner
from bench.run.stores import StoreSpec, silent
from bench.sources.registry import open_source
from bench.train import trainer as training
from bench.train.models import build_model
from bench.train.trainer import Trainer
from bench.train.transfer import Transfer
from loaders import Batch, Indices, SplitInfo, cut, epoch_order, load
from tests.slow_device import HostComputes

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read once, when CUDA first multiplies
CUDA = "cuda"
SPLIT = SplitInfo(count=96, shape=(3, 16, 16), mean=(0.4,) * 3, std=(0.25,) * 3, pixels_sha256="", labels_sha256="")
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 96)
# Each class has its own brightness: learnable at once.
IMAGES = (RANDOM.integers(0, 60, (96, 3, 16, 16)) + 80 * LABELS[:, None, None, None]).astype(np.uint8)


def batches_of(order: list[Indices]) -> Iterator[Batch]:
    return (Batch(torch.from_numpy(IMAGES[i]), torch.from_numpy(LABELS[i])) for i in order)


def trainer(steps: int = 30, device: str = "cpu", **changes: Any) -> Trainer:
    settings = {"loader": "mmap", "dataset": "digits", "lr": 0.05} | changes
    return Trainer(RunConfig(device=device, **settings), SPLIT, 3, steps)


def losses_of(subject: Trainer, size: int = 40, epochs: int = 3, on_device: bool = False) -> list[float]:
    """Losses of epochs whose last batch is smaller, and the accuracy afterwards."""
    found = []
    for epoch in range(epochs):
        order = cut(epoch_order(96, 0, epoch), size)

        def fetch(order: list[Indices] = order) -> Iterator[Batch]:
            return (Batch(*(t.to(CUDA) for t in b)) for b in batches_of(order)) if on_device else batches_of(order)

        found.append(subject.train_epoch(fetch, order, epoch, on_device=on_device).train_loss)
    return [*found, subject.evaluate(batches_of(cut(np.arange(96), size))).accuracy]


def alike(found: list[float], wanted: list[float], rel: float) -> None:
    """Other kernels round otherwise: losses are near each other, and some samples fall on the other side."""
    assert found[:-1] == pytest.approx(wanted[:-1], rel=rel)
    assert found[-1] == pytest.approx(wanted[-1], abs=5 / 96)


@pytest.mark.parametrize(
    "changes", [{}, {"channels_last": True, "amp": True}, {"momentum": 0.0, "label_smoothing": 0.1}], ids=str
)
def test_learns(changes: dict[str, Any]) -> None:
    subject = trainer(**changes)
    losses = []
    for epoch in range(10):
        order = cut(epoch_order(96, 0, epoch), 32)
        result = subject.train_epoch(functools.partial(batches_of, order), order, epoch)
        assert result.images == 96
        losses.append(result.train_loss)
    scores = subject.evaluate(batches_of(cut(np.arange(96), 40)))
    assert losses[-1] < losses[0] / 2
    assert scores.accuracy > 0.9
    assert scores.macro_f1 > 0.9


def test_the_network_trains_on_after_an_evaluation() -> None:
    subject = trainer()
    order = cut(np.arange(96), 32)
    subject.train_epoch(lambda: batches_of(order), order, 0)
    assert subject.model.training
    before = copy.deepcopy(subject.model.state_dict())
    subject.evaluate(batches_of(order))
    assert all(module.training for module in subject.model.modules())
    after = subject.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)  # batch norm's averages too
    tracked = after["1.num_batches_tracked"].clone()
    subject.train_epoch(lambda: batches_of(order), order, 1)
    assert subject.model.state_dict()["1.num_batches_tracked"] == tracked + 3


def test_evaluation_does_not_see_the_batch_size() -> None:
    subject = trainer()
    scores = [subject.evaluate(batches_of(cut(np.arange(96), size))) for size in (96, 7)]
    assert scores[0] == scores[1]


def test_warming_up_changes_nothing() -> None:
    subject = trainer()
    before = copy.deepcopy(subject.model.state_dict())
    subject.warm_up([32, 5], [7, 2])
    assert all(torch.equal(before[key], value) for key, value in subject.model.state_dict().items())
    assert all(p.grad is None for p in subject.model.parameters())
    assert subject.model.training


def test_every_size_of_batch_is_warmed_up_before_memory_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cuDNN tries for a size that comes later would count as the run's peak, and as its time."""
    seen: dict[str, set[tuple[bool, int]]] = {"before": set(), "after": set()}
    when = "before"

    def reset(device: torch.device) -> None:
        nonlocal when
        when = "after"

    def note(model: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        seen[when].add((model.training, len(given[0])))

    def noting(*arguments: Any) -> nn.Module:
        model = build_model(*arguments)
        model.register_forward_pre_hook(note)
        return model

    monkeypatch.setattr(training, "build_model", noting)
    monkeypatch.setattr(runner, "reset_peak_memory", reset)
    config = RunConfig(
        loader="memory", dataset="digits", limit=90, epochs=1, batch_size=40, device="cpu", rate_batches=0
    )
    loader = load("memory")
    spec = StoreSpec(loader, loader.Options(), open_source("digits", tmp_path), 90, tmp_path / "stores")
    assert runner.run(config, spec, silent, lambda _: None).status == "ok"
    assert seen["before"] == seen["after"] == {(True, 40), (True, 10), (False, 40), (False, 10)}


def test_the_parts_of_an_epoch_are_timed_apart_and_add_up() -> None:
    order = cut(np.arange(96), 8)
    result = trainer().train_epoch(lambda: batches_of(order), order, 0)
    host = result.host
    parts = [host.fetch.total, host.transfer.total, host.compute.total, host.other.total]
    assert all(part > 0 for part in parts)
    assert sum(parts) <= host.wall.total
    assert len(host.waits) == 12
    epochs = (trainer().train_epoch(lambda: batches_of(order), order, 0) for _ in range(5))
    assert min(epoch.host.gap for epoch in epochs) < 0.01  # one may be interrupted between two parts
    assert result.device == {"device_copy_s": None, "device_compute_s": None, "device_idle_s": None}


def test_an_iterator_that_gives_too_much_is_noticed() -> None:
    order = cut(np.arange(96), 32)
    with pytest.raises(RuntimeError, match="more batches than were asked for"):
        trainer().train_epoch(lambda: batches_of([*order, order[0]]), order, 0)


def test_a_run_may_be_very_short() -> None:
    for steps in (1, 2, 5):
        order = cut(np.arange(8 * steps), 8)
        loss = trainer(steps=steps).train_epoch(functools.partial(batches_of, order), order, 0).train_loss
        assert np.isfinite(loss), steps


def test_smoothed_labels_are_another_loss() -> None:
    assert losses_of(trainer(label_smoothing=0.2))[0] > losses_of(trainer())[0]


@pytest.mark.parametrize(("in_flight", "warm"), [(1, False), (2, True), (3, True)])
def test_a_slow_way_to_the_device_changes_no_bit(in_flight: int, warm: bool) -> None:
    with HostComputes() as device:
        subject = trainer()
        subject.transfer = Transfer(device, in_flight)
        if warm:
            subject.warm_up([32, 16], [40, 16])
            subject.ceiling(40, 4)
            before = dict(device.sizes)
        else:  # the first batches come in inference mode
            subject.evaluate(batches_of(cut(np.arange(96), 40)))
        assert losses_of(subject) == losses_of(trainer())
        assert len(device.sizes["locked"]) == in_flight * (1 if warm else 2)  # labels' draws come with training
        assert not warm or device.sizes == before
        assert device.idle()


def test_images_whose_channels_come_last_take_the_same_way() -> None:
    def turned(order: list[Indices]) -> Iterator[Batch]:
        for images, labels in batches_of(order):
            yield Batch(images.contiguous(memory_format=torch.channels_last), labels)

    order = cut(epoch_order(96, 0, 0), 40)
    with HostComputes() as device:
        subject = trainer()
        subject.transfer = Transfer(device, 2)
        loss = subject.train_epoch(lambda: turned(order), order, 0).train_loss
    assert loss == trainer().train_epoch(lambda: batches_of(order), order, 0).train_loss


def test_the_device_s_timeline_is_within_the_epoch() -> None:
    order = cut(epoch_order(96, 0, 0), 8)
    with HostComputes() as device:
        subject = trainer()
        subject.transfer = Transfer(device, 2)
        result = subject.train_epoch(lambda: batches_of(order), order, 0)
    found = {key: value or 0.0 for key, value in result.device.items()}
    assert all(0 < value <= result.host.wall.seconds for value in found.values())
    assert found["device_compute_s"] + found["device_idle_s"] <= result.host.wall.seconds


def test_an_error_surfaces_as_it_is_and_leaves_nothing_under_way() -> None:
    def broken() -> Iterator[Batch]:
        yield from batches_of(order[:2])
        raise OSError("fetch")

    order = cut(np.arange(96), 16)
    threads = threading.active_count()
    for where in ("fetch", "copy", "step", "evaluation"):
        with HostComputes() as device:
            subject = trainer()
            transfer = subject.transfer = Transfer(device, 2)
            if where == "copy":
                device.fail_at = 3
            if where == "step":
                subject._step = lambda *_: (_ for _ in ()).throw(OSError("step"))  # type: ignore[assignment]
            with pytest.raises((OSError, RuntimeError), match=where.replace("evaluation", "fetch")):
                if where == "evaluation":
                    subject.evaluate(broken())
                else:
                    subject.train_epoch(broken if where == "fetch" else lambda: batches_of(order), order, 0)
            assert device.idle(), where
            assert all(slot.busy is None and not slot.lent for slot in transfer._slots), where
    assert threading.active_count() == threads


def test_a_compiler_that_cannot_work_is_one_sentence() -> None:
    missing = type("InvalidCxxCompiler", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    sentence = r"cannot compile the network here \(no compiler\); install a C\+\+ compiler .* leave out --compile"
    subject = trainer(compile=True)
    with pytest.raises(BenchError, match=sentence), subject._explained():
        raise missing("\nno compiler\nand much more")
    with pytest.raises(OSError, match="disk"), subject._explained():
        raise OSError("disk")


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler")
def test_a_compiled_network_trains_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(psutil.Process().children())  # those of other tests, such as a resource tracker
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 3))  # soon compiled
    monkeypatch.setattr(training, "build_model", lambda *_: copy.deepcopy(model))
    plain, subject = trainer(), trainer(compile=True)
    subject.warm_up([48], steps=1)
    alike(losses_of(subject, size=48), losses_of(plain, size=48), rel=1e-3)
    assert set(psutil.Process().children()) <= before  # the compiler's own processes would count as the run's memory


# What only a CUDA device can show.


@pytest.fixture
def exact() -> Iterator[None]:
    """What a run sets; a capture and plain steps take the same algorithms then."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.cuda
@pytest.mark.parametrize("changes", [{}, {"channels_last": True, "amp": True}], ids=str)
def test_cuda_the_transfer_changes_no_bit(exact: None, changes: dict[str, Any]) -> None:
    plain = losses_of(trainer(device=CUDA, **changes), on_device=True)  # each batch moved by itself, in order
    for in_flight in (1, 2, 4):
        assert losses_of(trainer(device=CUDA, in_flight=in_flight, **changes)) == plain


@pytest.mark.cuda
@pytest.mark.parametrize("changes", [{}, {"momentum": 0.0}, {"channels_last": True, "amp": True}], ids=str)
def test_cuda_graphs_train_as_plain_steps_do(exact: None, changes: dict[str, Any]) -> None:
    plain = losses_of(trainer(device=CUDA, **changes))
    for on_device in (False, True):
        subject = trainer(device=CUDA, cuda_graphs=True, **changes)
        subject.warm_up([40, 16])
        subject.ceiling(40, 10)
        alike(losses_of(subject, on_device=on_device), plain, rel=0.02 if changes.get("amp") else 1e-3)


@pytest.mark.cuda
def test_cuda_a_capture_changes_nothing() -> None:
    subject = trainer(device=CUDA, cuda_graphs=True)
    before = copy.deepcopy(subject.model.state_dict())
    subject.warm_up([32, 5])
    assert all(torch.equal(before[key], value) for key, value in subject.model.state_dict().items())


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore")  # the compiler has advice on precision
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_cuda_a_compiled_network_trains_the_same(cuda_graphs: bool) -> None:
    subject = trainer(device=CUDA, compile=True, cuda_graphs=cuda_graphs)
    subject.warm_up([40, 16])
    alike(losses_of(subject), losses_of(trainer(device=CUDA)), rel=0.02)


@pytest.mark.cuda
@pytest.mark.parametrize(("on_device", "cuda_graphs"), [(False, False), (True, False), (False, True)])
def test_cuda_the_device_s_timeline_is_sane(on_device: bool, cuda_graphs: bool) -> None:
    subject = trainer(device=CUDA, cuda_graphs=cuda_graphs)
    subject.warm_up([8])
    order = cut(epoch_order(96, 0, 0), 8)

    def fetch() -> Iterator[Batch]:
        return (Batch(*(t.to(CUDA) for t in b)) for b in batches_of(order)) if on_device else batches_of(order)

    result = subject.train_epoch(fetch, order, 0, on_device=on_device)
    wall, found = result.host.wall.seconds, {key: value or 0.0 for key, value in result.device.items()}
    assert 0 < found["device_compute_s"] <= wall
    assert 0 < found["device_copy_s"] <= wall
    assert found["device_compute_s"] + found["device_idle_s"] <= wall


@pytest.mark.cuda
def test_cuda_memory_comes_back_after_an_error() -> None:
    def broken() -> Iterator[Batch]:
        yield from batches_of(order[:2])
        raise OSError("fetch")

    order = cut(np.arange(96), 16)
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for cuda_graphs in (False, True):
        subject = trainer(device=CUDA, cuda_graphs=cuda_graphs)
        subject.warm_up([16])
        with pytest.raises(OSError, match="fetch"):
            subject.train_epoch(broken, order, 0)
        assert losses_of(subject, size=16)  # it can go on
        del subject
        gc.collect()
        # cuBLAS keeps a workspace for each stream that it has worked on.
        torch._C._cuda_clearCublasWorkspaces()
        assert torch.cuda.memory_allocated() <= before + 2**20
