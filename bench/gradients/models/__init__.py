"""The models of the notes, each as entries of the catalogue and, where it is trained, as trainables."""

from __future__ import annotations

from bench.gradients.entry import Entry, Trainable
from bench.gradients.models import (
    convnet,
    house,
    mlp,
    net_121,
    net_321,
    net_1221,
    robot_arm,
    variable_oop,
)

ENTRIES: tuple[Entry, ...] = (
    *house.ENTRIES,
    *mlp.ENTRIES,
    *variable_oop.ENTRIES,
    *net_1221.ENTRIES,
    *net_121.ENTRIES,
    *net_321.ENTRIES,
    *robot_arm.ENTRIES,
    *convnet.ENTRIES,
)
"""In the order of the table."""

TRAINABLES: tuple[Trainable, ...] = (
    *house.TRAINABLES,
    *mlp.TRAINABLES,
    *variable_oop.TRAINABLES,
    *net_1221.TRAINABLES,
    *net_121.TRAINABLES,
    *net_321.TRAINABLES,
    *robot_arm.TRAINABLES,
    *convnet.TRAINABLES,
)
"""In the same order."""
