"""Sizes of the networks, and that seeds decide their weights."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.config import Model
from bench.train.models import build_model


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_convnet_is_small_enough_for_data_to_show() -> None:
    model = build_model("convnet", 10, 32, seed=0).eval()
    assert parameters(model) <= 250_000
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    assert counter.get_total_flops() / 2 <= 5_000_000  # the counter counts a multiply-add as two


def test_convnet_has_four_3x3_convolutions() -> None:
    convolutions = [m for m in build_model("convnet", 10, 32, seed=0).modules() if isinstance(m, nn.Conv2d)]
    assert [(m.out_channels, m.stride[0], m.kernel_size[0]) for m in convolutions] == [
        (32, 2, 3),
        (64, 2, 3),
        (128, 2, 3),
        (128, 1, 3),
    ]


@pytest.mark.parametrize("name", get_args(Model))
def test_shapes_and_seeds(name: Model) -> None:
    """The seed decides, and the caller's generator is left alone."""
    state = torch.random.get_rng_state()
    first, second, other = (build_model(name, 7, 32, seed, 1) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = [model.state_dict() for model in (first, second, other)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert any(not torch.equal(weights[0][key], weights[2][key]) for key in weights[0])
    with torch.no_grad():
        assert first.eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 7)
        assert build_model(name, 7, 64, 0, 3).eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


def test_resnet9_has_nine_layers_with_weights() -> None:
    model = build_model("resnet9", 10, 32, seed=0).eval()
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert [m.weight.shape[0] for m in layers] == [64, 128, 128, 128, 256, 512, 512, 512, 10]
    assert parameters(model) == 6_573_120
    assert not any(isinstance(m, nn.AdaptiveMaxPool2d) for m in model.modules())  # not deterministic on CUDA


def test_resnet9_learns() -> None:
    torch.manual_seed(0)
    labels = torch.arange(12) % 3
    images = torch.rand(12, 3, 16, 16) + labels.view(-1, 1, 1, 1)  # each class has its own brightness
    model = build_model("resnet9", 3, 16, seed=0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    losses = []
    for _ in range(10):
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4
    assert (model(images).argmax(1) == labels).float().mean() > 0.9


def test_deep_networks_see_small_images_whole() -> None:
    for name, last in (("resnet18", "layer4"), ("densenet121", "features")):
        model = build_model(name, 10, 32, seed=0).eval()  # type: ignore[arg-type]
        shapes: list[torch.Size] = []
        model.get_submodule(last).register_forward_hook(lambda *call, s=shapes: s.append(call[2].shape))
        with torch.no_grad():
            model(torch.zeros(1, 3, 32, 32))
        assert shapes[0][-1] == 4
