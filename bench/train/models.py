"""The networks of the protocol, each with a stem for 32- and 64-pixel images."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import densenet121, resnet18

from bench.config import Model


class ResNet9(nn.Module):
    """A residual network of nine layers for short trainings, in the manner of the fast recipes for CIFAR-10.

    3x3 convolutions, each with batch normalisation and ReLU; the logits are divided by eight, so that training begins
    with classes about equally likely. 6.6 M parameters at ten classes.

    D. Page, "How to train your ResNet 4: Architecture", 2018.
    """

    def __init__(self, classes: int, channels: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.before = _block(channels, 64, stride)
        self.first = nn.Sequential(_block(64, 128), nn.MaxPool2d(2))
        self.around_first = nn.Sequential(_block(128, 128), _block(128, 128))
        self.second = nn.Sequential(_block(128, 256), nn.MaxPool2d(2))
        self.third = nn.Sequential(_block(256, 512), nn.MaxPool2d(2))
        self.around_third = nn.Sequential(_block(512, 512), _block(512, 512))
        self.head = nn.Linear(512, classes, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits ``[B, classes]`` of images ``[B, C, H, W]`` of at least 8 pixels after the stem."""
        signal = self.first(self.before(images))
        signal = self.second(signal + self.around_first(signal))
        signal = self.third(signal)
        signal = signal + self.around_third(signal)
        # Not AdaptiveMaxPool2d: it has no deterministic gradient on CUDA.
        logits: torch.Tensor = self.head(signal.amax((2, 3))) * 0.125
        return logits


def _block(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


def build_model(name: Model, classes: int, size: int, seed: int, channels: int = 3) -> nn.Module:
    """A network with initial weights that depend on the seed alone.

    From images of ``size`` 64 pixels on, the stems of the residual and dense networks halve the side once.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == "convnet":
            # 0.24 M parameters and 4.9 M multiply-adds on a 32-pixel image, so that reading data is a visible share of
            # an epoch even on a CPU.
            widths = (channels, 32, 64, 128, 128)
            layers = [
                layer for sizes in zip(widths, widths[1:], (2, 2, 2, 1), strict=False) for layer in _block(*sizes)
            ]
            return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes))
        stride = 2 if size >= 64 else 1
        if name == "resnet9":
            return ResNet9(classes, channels, stride)
        stem = nn.Conv2d(channels, 64, 3, stride=stride, padding=1, bias=False)
        if name == "resnet18":
            network = resnet18(num_classes=classes)
            network.conv1, network.maxpool = stem, nn.Identity()
        else:
            network = densenet121(num_classes=classes)
            network.features.conv0, network.features.pool0 = stem, nn.Identity()
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        assert isinstance(network, nn.Module)
        return network
