"""Layers, losses and the optimiser in NumPy alone, each with the backward pass that was derived by hand."""

from bench.gradients.layers.activations import LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from bench.gradients.layers.dense import Cubic, Flatten, Linear
from bench.gradients.layers.layer import Layer, Loss, Sequential
from bench.gradients.layers.losses import BCE, CCE, MAE, MSE, BCEWithLogits, HalvedSquaredError, Huber
from bench.gradients.layers.sgd import SGD
from bench.gradients.layers.spatial import AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d
from bench.gradients.layers.variable import Variable

__all__ = [
    "BCE", "CCE", "MAE", "MSE", "SGD", "AvgPool2d", "BCEWithLogits", "BatchNorm2d", "Conv2d", "Cubic", "Flatten",
    "HalvedSquaredError", "Huber", "Layer", "LeakyReLU", "Linear", "Loss", "MaxPool2d", "ReLU", "Sequential", "Sigmoid",
    "Softmax", "Tanh", "Variable",
]  # fmt: skip
