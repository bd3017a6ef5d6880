"""Stochastic gradient descent, with and without momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from bench.gradients.layers.variable import Variable, number


@final
class SGD:
    """``v ← m v + g``, ``w ← w - r v``, as ``torch.optim.SGD``; ``v`` starts at zero, and without momentum it is ``g``.

    The rate ``r`` is positive, the momentum ``m`` at least 0 and less than 1; ``ValueError`` otherwise.
    """

    def __init__(self, parameters: Mapping[str, Variable], rate: ArrayLike, momentum: ArrayLike = 0.0) -> None:
        self.parameters = tuple(parameters.values())
        if not self.parameters:
            raise ValueError("SGD needs at least one parameter")
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            raise ValueError("SGD was given the same parameter twice, which would be updated twice a step")
        self.rate = number("the rate of SGD", rate, positive=True)
        self.momentum = number("the momentum of SGD", momentum)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"the momentum of SGD must be at least 0 and less than 1, not {self.momentum}")
        self._velocities = [np.zeros_like(p.value) for p in self.parameters]

    def step(self) -> None:
        """Move every parameter against its gradient; no gradient changes, so the order makes no difference.

        Values are replaced, not written into: arrays that parameters were made of stay as they are.
        """
        for i, parameter in enumerate(self.parameters):
            self._velocities[i] = self.momentum * self._velocities[i] + parameter.grad
            parameter.value = parameter.value - self.rate * self._velocities[i]

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters:
            parameter.zero_grad()
