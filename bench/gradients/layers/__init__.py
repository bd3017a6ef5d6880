"""Layers, losses and the optimiser in NumPy alone, each with the backward pass that was derived by hand."""

from bench.gradients.layers.layer import Layer, Loss, Sequential
from bench.gradients.layers.variable import Variable

__all__ = ["Layer", "Loss", "Sequential", "Variable"]
