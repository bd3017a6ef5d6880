"""The three networks of the protocol, each with a stem for 32- and 64-pixel images."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import densenet121, resnet18

from bench.config import Model


def convnet(classes: int, channels: int = 3) -> nn.Sequential:
    """Three stride-2 3x3 convolutions (32, 64, 128) and one more of 128: 0.24 M parameters.

    4.9 M multiply-adds on a 32-pixel image, so that reading data is a visible share of an epoch even on a CPU.
    """
    layers: list[nn.Module] = []
    for width, stride in ((32, 2), (64, 2), (128, 2), (128, 1)):
        layers += [
            nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def build_model(name: Model, classes: int, size: int, seed: int, channels: int = 3) -> nn.Module:
    """A network with initial weights that depend on the seed alone.

    Args:
        name: which network.
        classes: number of outputs.
        size: side of the images in pixels. From 64 on, the stems of the two deep networks halve it once.
        seed: of the initial weights.
        channels: of the images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == "convnet":
            return convnet(classes, channels)
        stride = 2 if size >= 64 else 1
        stem = nn.Conv2d(channels, 64, 3, stride=stride, padding=1, bias=False)
        if name == "resnet18":
            network = resnet18(num_classes=classes)
            network.conv1, network.maxpool = stem, nn.Identity()
        else:
            network = densenet121(num_classes=classes)
            network.features.conv0, network.features.pool0 = stem, nn.Identity()
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        found: nn.Module = network
        return found
