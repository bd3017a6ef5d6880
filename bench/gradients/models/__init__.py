"""The models of the notes, each as entries of the catalogue and, where it is trained, as trainables."""

from __future__ import annotations

from bench.gradients.entry import Entry, Trainable
from bench.gradients.models import convnet, house, mlp, net_121, net_321, net_1221, robot_arm, variable_oop

_MODELS = (house, mlp, variable_oop, net_1221, net_121, net_321, robot_arm, convnet)  # in the order of the tables

ENTRIES: tuple[Entry, ...] = tuple(entry for model in _MODELS for entry in model.ENTRIES)
TRAINABLES: tuple[Trainable, ...] = tuple(trainable for model in _MODELS for trainable in model.TRAINABLES)
