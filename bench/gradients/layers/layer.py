"""What a layer and a loss are: a checked forward, and a backward that takes the upstream gradient."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from bench.gradients.layers.variable import Array, Variable, checked


class Layer(abc.ABC):
    """One differentiable step, batch dimension first.

    A subclass writes ``_forward``, which keeps what the way back needs; ``_backward``, which returns the gradient of
    the input and *adds* its parameters' gradients to their ``grad``; and ``_check`` if not every shape will do. The
    first two see checked arrays.
    """

    _output: Array | None = None
    _parameters: Mapping[str, Variable] = {}

    def _check(self, x: Array) -> None:  # noqa: B027 - any shape will do
        """Raise ``ValueError`` where this layer cannot take ``x``; what all layers refuse is refused before."""

    @abc.abstractmethod
    def _forward(self, x: Array) -> Array: ...

    @abc.abstractmethod
    def _backward(self, g: Array) -> Array: ...

    def parameters(self) -> dict[str, Variable]:
        """The trainable values by name, in the order of PyTorch's counterpart."""
        return dict(self._parameters)

    def _weights(self, ndim: int, **values: Array) -> tuple[Variable, Variable]:
        """Two parameters by name: one of ``ndim`` dimensions, and one with a number for each of the first's rows."""
        (first, weight), (second, bias) = values.items()
        layer = type(self).__name__
        w, b = Variable(weight, f"{first} of {layer}"), Variable(bias, f"{second} of {layer}")
        checked(f"{first} of {layer}", w.value, ndim=ndim)
        checked(f"{second} of {layer}", b.value, shape=w.value.shape[:1], dtype=w.value.dtype)
        self._parameters = {first: w, second: b}
        return w, b

    @final
    def forward(self, x: Array) -> Array:
        """The layer's output for a batch ``x``, of its dtype; ``ValueError`` if ``x`` cannot be computed with."""
        self._output = None
        checked(f"the input of {type(self).__name__}", x)
        self._check(x)
        self._output = self._forward(x)
        return self._output

    @final
    def backward(self, g: Array) -> Array:
        """The gradient of the last input, from that of the last output, ``g``; adds to the parameters' ``grad``.

        It may be called again, e.g. with the parts of a sum. ``x`` must not have been written into since.
        Raises ``ValueError`` without a forward pass, or if ``g`` is not like its output.
        """
        if self._output is None:
            raise ValueError(f"{type(self).__name__}.backward needs a forward pass first")
        like = self._output
        checked(f"the upstream gradient of {type(self).__name__}", g, shape=like.shape, dtype=like.dtype)
        return self._backward(g)


@final
class Sequential(Layer):
    """Layers one after another; parameters are named ``0.W``, ``0.b``, ``2.W`` … by their layer's place."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)
        if not self.layers:
            raise ValueError("Sequential needs at least one layer")
        if len({id(layer) for layer in self.layers}) < len(self.layers):
            raise ValueError("Sequential was given the same layer twice, which remembers one forward pass; make two")

    def _forward(self, x: Array) -> Array:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def _backward(self, g: Array) -> Array:
        for layer in reversed(self.layers):
            g = layer.backward(g)
        return g

    def parameters(self) -> dict[str, Variable]:
        """All layers' parameters."""
        return {f"{i}.{name}": p for i, layer in enumerate(self.layers) for name, p in layer.parameters().items()}


class Loss(abc.ABC):
    """A number for a batch of predictions; ``backward`` gives the gradient of the predictions.

    A subclass writes ``_forward`` and ``_backward``, and ``_check`` if prediction and target are not alike. The target
    is data: no gradient goes to it.
    """

    _inputs: tuple[Array, Array] | None = None

    def _check(self, prediction: Array, target: Array) -> None:
        """Raise ``ValueError`` where they do not fit: [N] and [N, 1] would be broadcast to N² differences silently."""
        checked(f"the target of {type(self).__name__}", target, shape=prediction.shape, dtype=prediction.dtype)

    @abc.abstractmethod
    def _forward(self, prediction: Array, target: Array) -> Any: ...

    @abc.abstractmethod
    def _backward(self, prediction: Array, target: Array) -> Array: ...

    @final
    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss, of no dimensions and the dtype of ``prediction``; ``ValueError`` for arrays that do not fit."""
        self._inputs = None
        checked(f"the prediction of {type(self).__name__}", prediction)
        self._check(prediction, target)
        self._inputs = prediction, target
        return np.asarray(self._forward(prediction, target), dtype=prediction.dtype)

    @final
    def backward(self) -> Array:
        """The gradient of the last predictions, of their shape; ``ValueError`` without a forward pass."""
        if self._inputs is None:
            raise ValueError(f"{type(self).__name__}.backward needs a forward pass first")
        return self._backward(*self._inputs)
