"""A planar robot arm of N equal segments that reaches for a target: the loss, its gradient by each joint's angle.

Angles are in radians. The arm starts at the origin, and ``segment`` is the vector s of a segment that is not turned.
An absolute angle is measured from the x axis, as the notes' ``joint_{i+1} = R(theta_i) s + joint_i`` has it; a
relative one from the segment before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
import torch

from bench.gradients.entry import Array, Arrays, Case, Entry, Gradient, Gradients, Trainable, Verdict, Written

Joints = Callable[[Array, Array], Array]
"""From the angles [N] and the segment [2] to the places of the joints [N + 1, 2]."""

START = np.array([0.2, 0.7, 1.2, 0.4, 0.9])
"""The angles that the arm of the claims starts with: bent, so that no two of its joints move alike."""
REACHABLE = np.array([-1.5, 2.0])  # a target at half the reach of that arm, whose segments have length 1


def rotations(angles: Array) -> Array:
    """The 2 x 2 rotation matrices of angles [N] in radians: [N, 2, 2]."""
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([np.stack([cos, -sin], axis=1), np.stack([sin, cos], axis=1)], axis=1)


def joints(angles: Array, segment: Array) -> Array:
    """Where the joints of an arm with absolute angles [N] and the segment [2] are: [N + 1, 2], the tip last."""
    ends = np.cumsum(rotations(angles) @ segment, axis=0)
    return np.concatenate([np.zeros_like(ends[:1]), ends])


def relative_joints(angles: Array, segment: Array) -> Array:
    """The same for relative angles [N]: each segment is turned by the sum of the angles up to its own."""
    return joints(np.cumsum(angles), segment)


def slopes(angles: Array, segment: Array) -> Array:
    """``R'(angle) s`` for each absolute angle: [N, 2]."""
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([-sin * segment[0] - cos * segment[1], cos * segment[0] - sin * segment[1]], axis=1)


def absolute_gradient(inputs: Arrays, g: Array) -> Gradients:
    """An absolute angle moves the tip by ``R'(angle) s``, as all segments after it are carried along unturned."""
    angles, segment = inputs["angles"], inputs["segment"]
    missing = inputs["target"] - joints(angles, segment)[-1]
    return {"angles": g * -2.0 * np.sum(slopes(angles, segment) * missing, axis=1)}


def relative_gradient(inputs: Arrays, g: Array) -> Gradients:
    """A relative angle turns its own segment and all after it.

    ``R_0 ... R'_i ... R_k`` is the derivative of the rotation by the sum of the angles 0 to k, whichever i <= k it is
    taken by: rotations of the plane commute. So the sums over k >= i are cumulative sums from the tip.
    """
    angles, segment = inputs["angles"], inputs["segment"]
    missing = inputs["target"] - relative_joints(angles, segment)[-1]
    behind = np.cumsum(slopes(np.cumsum(angles), segment)[::-1], axis=0)[::-1]
    return {"angles": g * -2.0 * np.sum(behind * missing, axis=1)}


def _as_written(before: Callable[[Arrays], Array], tips: Callable[[Arrays], Array]) -> Gradient:
    """The notes' ``sum(before_i R'(theta_i) s * -2 (target - tip))``, for matrices [N, 2, 2] and tips [N, 2] or [2]."""

    def gradient(inputs: Arrays, g: Array) -> Gradients:
        moved = before(inputs) @ slopes(inputs["angles"], inputs["segment"])[:, :, None]
        return {"angles": g * np.sum(moved[:, :, 0] * -2.0 * (inputs["target"] - tips(inputs)), axis=1)}

    return gradient


def _rotations_before(inputs: Arrays) -> Array:
    """``R(theta_{i-1})`` for every i, with the identity for i = 0, where the notes name no matrix."""
    angles = inputs["angles"]
    return np.concatenate([np.eye(2, dtype=angles.dtype)[None], rotations(angles)[:-1]])


def _no_rotations(inputs: Arrays) -> Array:
    return np.broadcast_to(np.eye(2, dtype=inputs["angles"].dtype), (len(inputs["angles"]), 2, 2))


def _stale_tips(inputs: Arrays) -> Array:
    """The tip that each step of the notes' loop sees: the new one exists only when the last segment is placed."""
    before_last = np.broadcast_to(inputs["previous_tip"], (len(inputs["angles"]) - 1, 2))
    return np.concatenate([before_last, joints(inputs["angles"], inputs["segment"])[-1:]])


def _tip(inputs: Arrays) -> Array:
    return np.asarray(joints(inputs["angles"], inputs["segment"])[-1])


def _relative_tip(inputs: Arrays) -> Array:
    return np.asarray(relative_joints(inputs["angles"], inputs["segment"])[-1])


extra_factor = _as_written(_rotations_before, _tip)
"""With the rotation of the segment before as a factor; the tip is the current one."""
stale_tip = _as_written(_no_rotations, _stale_tips)
"""Without that factor, but with the tip that the notes' loop has at hand."""
whole_loop = _as_written(_rotations_before, _stale_tips)  # the notes' loop as it stands: the factor and the stale tip
relative_extra_factor = _as_written(_rotations_before, _relative_tip)
"""For relative angles, R with an index read as one joint's rotation."""
relative_product = _as_written(lambda i: rotations(np.cumsum(i["angles"]) - i["angles"]), _relative_tip)
"""For relative angles, the factor read as the product of all rotations before."""


def _torch_loss(tensors: dict[str, torch.Tensor], *, relative: bool) -> torch.Tensor:
    """The squared distance of the tip by the notes' recurrence, one joint after the other."""
    joint, turn = torch.zeros_like(tensors["segment"]), torch.eye(2).to(tensors["segment"])
    for angle in tensors["angles"]:
        cos, sin = torch.cos(angle), torch.sin(angle)
        own = torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])])
        turn = turn @ own if relative else own
        joint = turn @ tensors["segment"] + joint
    return torch.sum((tensors["target"] - joint) ** 2)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    names = {1: "1 segment", 2: "2 segments, as many as coordinates", 3: "3 segments", 5: "5 segments"}
    for n, name in names.items():
        inputs = {
            "angles": rng.uniform(-np.pi, np.pi, n),
            "segment": rng.uniform(0.5, 1.5, 2),
            "target": rng.uniform(-2.0, 2.0, 2),
            "previous_tip": rng.uniform(-2.0, 2.0, 2),
        }
        yield Case(name, inputs)
    flat = {"segment": np.array([1.0, 0.0]), "target": np.array([1.0, 1.5]), "previous_tip": np.array([0.5, 1.0])}
    yield Case("straight along x", {**flat, "angles": np.zeros(3)})
    yield Case("a right angle at each joint", {**flat, "angles": np.array([0.0, np.pi / 2, np.pi])})
    yield Case("many turns", {**flat, "angles": np.array([1000.5, -750.25, 512.125])}, "extreme")
    far = {"segment": np.array([800.0, 600.0]), "target": np.array([-3e4, 1e4]), "previous_tip": np.array([2e3, -1e3])}
    yield Case("a long arm and a far target", {**far, "angles": np.array([0.5, -1.0, 2.0])}, "extreme")


_FACTOR_LATEX = r"\sum R_{i-1}\,R'(\theta_i)\,s\cdot\bigl(-2\,(t-p)\bigr)"


def _entry(name: str, formula: str, latex: str, place: Joints, gradient: Gradient, *forms: Written) -> Entry:
    """An arm whose angles are all of one kind; every form that the notes write is wrong."""
    return Entry(
        id=f"robot-arm-{name}",
        title=f"robot arm, {name} angles",
        group="model",
        formula=r"L=\sum(t-p_N)^2,\quad p_{i+1}=" + formula,
        corrected_latex=r"\frac{\partial L}{\partial\theta_i}=\sum" + latex + r"\cdot\bigl(-2\,(t-p_N)\bigr)",
        forward=lambda i: np.asarray(np.sum((i["target"] - place(i["angles"], i["segment"])[-1]) ** 2)),
        corrected=gradient,
        torch=functools.partial(_torch_loss, relative=name == "relative"),
        wrt=("angles",),
        cases=_cases,
        targets=(gradient, slopes),
        written=forms,
    )


ABSOLUTE = _entry(
    "absolute",
    r"R(\theta_i)\,s+p_i",
    r" R'(\theta_i)\,s",
    joints,
    absolute_gradient,
    Written(
        "the factor",
        _FACTOR_LATEX,
        extra_factor,
        Verdict.WRONG,
        "an absolute angle turns its own segment only: R of the segment before does not belong (R before the first is "
        "read as the identity)",
    ),
    Written(
        "the stale tip",
        r"\sum R'(\theta_i)\,s\cdot\bigl(-2\,(t-p_{\mathrm{old}})\bigr),\ i<N-1",
        stale_tip,
        Verdict.WRONG,
        "every segment but the last sees the tip of the iteration before, as the loop places the tip last",
    ),
    Written(
        "the whole loop",
        r"\sum R_{i-1}\,R'(\theta_i)\,s\cdot\bigl(-2\,(t-p_{\mathrm{old}})\bigr),\ i<N-1",
        whole_loop,
        Verdict.WRONG,
        "both: R of the segment before as a factor, and the tip of the iteration before",
    ),
)
RELATIVE = _entry(
    "relative",
    r"R(\theta_0)\cdots R(\theta_i)\,s+p_i",
    r"\Bigl(\sum_{k\ge i}R_0\cdots R'_i\cdots R_k\,s\Bigr)",
    relative_joints,
    relative_gradient,
    Written(
        "the factor, one rotation",
        _FACTOR_LATEX,
        relative_extra_factor,
        Verdict.WRONG,
        "a relative angle turns every segment after it too, and all rotations before it turn what it moves",
    ),
    Written(
        "the factor, all rotations before",
        r"\sum R_0\cdots R_{i-1}\,R'(\theta_i)\,s\cdot\bigl(-2\,(t-p)\bigr)",
        relative_product,
        Verdict.WRONG,
        "right for the last angle only: the segments k > i that the angle turns as well are left out",
    ),
)

ENTRIES = (ABSOLUTE, RELATIVE)


def _trainable(entry: Entry, rate: float) -> Trainable:
    return Trainable(
        entry=entry,
        parameters=("angles",),
        start=lambda rng: {"angles": START + rng.uniform(-0.1, 0.1, 5)},
        data=lambda: {"segment": np.array([1.0, 0.0]), "target": REACHABLE},
        batched=(),
        rate=rate,
        about_data="5 segments of length 1; the target (-1.5, 2) is at half the arm's reach",
    )


TRAINABLES = (_trainable(ABSOLUTE, 0.05), _trainable(RELATIVE, 0.01))
