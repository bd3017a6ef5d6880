"""Training parity: how far NumPy and PyTorch part when they train the same model from the same start."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import torch

from bench.gradients.audit import seed_of
from bench.gradients.entry import Array, Arrays, Entry, Gradients, Trainable
from bench.gradients.layers import SGD, Variable

TOLERANCE = 1e-9
"""Largest ‖ours - theirs‖ / ‖theirs‖ of any parameter after any step, and of the losses relative to the first."""
LOST = 1.0
"""Relative distance beyond which training stops: what has parted so far may overflow, and tells nothing new."""
OPTIMUM_TOLERANCE = 1e-6
"""Largest ‖trained - optimum‖ / ‖optimum‖ of any parameter at the end, where there is a closed solution."""


@dataclasses.dataclass(frozen=True)
class Parity:
    """What came of one model's two trainings.

    Attributes:
        worst, parameter: largest relative distance of any parameter tensor after any step, ‖ours - theirs‖ / ‖theirs‖,
            infinite if either side left the finite numbers; and the parameter where it is.
        losses, torch_losses: mean loss of every epoch.
        margin: the nearest that any step came to a kink, if ``Trainable.margin`` measures it.
        trained, optimum: the parameters at the end by NumPy, and their relative distance from a closed solution.
        faults: sentences that say what is beyond its tolerance.
    """

    trainable: Trainable
    steps: int
    worst: float
    parameter: str
    losses: tuple[float, ...]
    torch_losses: tuple[float, ...]
    margin: float | None
    trained: Gradients
    optimum: float | None
    faults: tuple[str, ...] = ()


def train(trainable: Trainable, device: torch.device | None = None) -> Parity:
    """Train both sides in float64, from one start on the same batches, and compare their parameters after every step.

    NumPy descends along ``entry.corrected`` with the SGD of our layers, PyTorch along what autograd makes of
    ``entry.torch`` with ``torch.optim.SGD``, on ``device`` (the CPU by default). Start and order of the samples depend
    on the entry's id alone.

    Raises:
        ValueError: the start or the data do not fit the trainable, or the entry's forward is no loss.
    """
    entry, rng = trainable.entry, np.random.default_rng(seed_of(trainable.entry))
    start, data = trainable.start(rng), trainable.data()
    _check(trainable, start, data)
    ours = {name: Variable(start[name]) for name in trainable.parameters}
    device = device or torch.device("cpu")
    theirs = {name: torch.tensor(start[name], device=device, requires_grad=True) for name in trainable.parameters}
    our_sgd = SGD(ours, trainable.rate, trainable.momentum)
    their_sgd = torch.optim.SGD(theirs.values(), trainable.rate, trainable.momentum)
    worst, margin, steps = dict.fromkeys(trainable.parameters, 0.0), np.inf, 0
    losses: list[tuple[float, float]] = []
    while len(losses) < trainable.epochs and max(worst.values()) <= LOST:
        epoch, sizes = [], []
        for batch, size in _batches(trainable, data, rng):
            inputs = {**batch, **{name: np.asarray(variable.value) for name, variable in ours.items()}}
            if trainable.margin is not None:
                margin = min(margin, trainable.margin(inputs))
            tensors = {name: torch.tensor(value, device=device) for name, value in batch.items()} | theirs
            our_loss, their_loss = _step(entry, inputs, ours, our_sgd), entry.torch(tensors)
            their_sgd.zero_grad()
            their_loss.backward()
            their_sgd.step()
            epoch.append((our_loss, float(their_loss.detach())))
            sizes.append(size)
            for name, leaf in theirs.items():
                distance = _distance(ours[name].value, leaf.detach().cpu().numpy())
                worst[name] = max(worst[name], distance)
            if max(worst.values()) > LOST:
                break
        losses.append(tuple(np.average(epoch, axis=0, weights=sizes).tolist()))
        steps += len(epoch)
    parameter = max(worst, key=worst.__getitem__)
    trained, optimum = {name: np.asarray(variable.value) for name, variable in ours.items()}, trainable.optimum
    parity = Parity(
        trainable=trainable,
        steps=steps,
        worst=worst[parameter],
        parameter=parameter,
        losses=tuple(mine for mine, _ in losses),
        torch_losses=tuple(other for _, other in losses),
        margin=None if trainable.margin is None else margin,
        trained=trained,
        optimum=max(_distance(trained[name], value) for name, value in optimum().items()) if optimum else None,
    )
    return dataclasses.replace(parity, faults=tuple(_faults(parity, start)))


def _step(entry: Entry, inputs: Arrays, variables: Mapping[str, Variable], sgd: SGD) -> float:
    """One update of the variables along the hand-written gradient; the loss before it."""
    loss = entry.forward(inputs)
    if np.shape(loss) != ():
        raise ValueError(f"{entry.id} gives the shape {np.shape(loss)}, which is no loss to descend along")
    gradients = entry.corrected(inputs, np.array(1.0))
    sgd.zero_grad()
    for name, variable in variables.items():
        variable.grad += gradients[name]
    sgd.step()
    return float(loss)


def _batches(trainable: Trainable, data: Arrays, rng: np.random.Generator) -> Iterator[tuple[Arrays, int]]:
    """The batches of one epoch, in an order drawn anew, each with its number of samples."""
    if trainable.batch_size is None:
        yield data, 1
        return
    order = rng.permutation(len(data[trainable.batched[0]]))
    for first in range(0, len(order), trainable.batch_size):
        rows = order[first : first + trainable.batch_size]
        yield {**data, **{name: data[name][rows] for name in trainable.batched}}, len(rows)


def _distance(ours: Array, theirs: Array) -> float:
    """``‖ours - theirs‖ / ‖theirs‖``, with 0/0 = 0."""
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float("inf")
    apart, size = float(np.linalg.norm(ours - theirs)), float(np.linalg.norm(theirs))
    return 0.0 if apart == 0 else apart / size if size > 0 else float("inf")


def _check(trainable: Trainable, start: Gradients, data: Arrays) -> None:
    """Refuse what would make the two sides differ in what they are given, or train nothing."""
    label = trainable.entry.id
    if sorted(start) != sorted(trainable.parameters):
        raise ValueError(f"{label} starts with {sorted(start)}, but {sorted(trainable.parameters)} are trained")
    for name, value in (*start.items(), *data.items()):
        if np.issubdtype(value.dtype, np.floating) and value.dtype != np.float64:
            raise ValueError(f"{label} is given {name} as {value.dtype}; parity is measured in float64")
    if trainable.epochs < 1:
        raise ValueError(f"{label} is to be trained for {trainable.epochs} epochs; at least one is needed")
    rows = {len(data[name]) for name in trainable.batched}
    if trainable.batch_size is not None and (trainable.batch_size < 1 or len(rows) != 1 or 0 in rows):
        raise ValueError(
            f"{label} cannot be cut into batches of {trainable.batch_size}: its data have {sorted(rows)} rows"
        )


def _faults(parity: Parity, start: Gradients) -> Iterator[str]:
    label, losses, theirs = parity.trainable.entry.id, parity.losses, parity.torch_losses
    if parity.worst > TOLERANCE:
        yield f"{label}: {parity.parameter} parts by {parity.worst:.1e} from PyTorch's, more than {TOLERANCE:.0e}"
    apart = max(abs(mine - other) for mine, other in zip(losses, theirs, strict=True))
    if not apart <= TOLERANCE * abs(theirs[0]):
        yield f"{label}: the losses part by {apart:.1e} from PyTorch's, starting at {theirs[0]:.1e}"
    if parity.optimum is not None and not parity.optimum <= OPTIMUM_TOLERANCE:
        limit = f"{OPTIMUM_TOLERANCE:.0e}"
        yield f"{label}: training ends {parity.optimum:.1e} from the closed solution, more than {limit}"
    if len(losses) > 1 and not losses[-1] < losses[0]:
        yield f"{label}: the loss does not fall, from {losses[0]:.3g} to {losses[-1]:.3g}"
    for name, value in parity.trained.items():
        if np.array_equal(value, start[name]):
            yield f"{label}: {name} never moves, so its training is not compared"
