"""How the robot arm moves: gradient descent on the angles, with the corrected gradients and with the written ones."""

from __future__ import annotations

import dataclasses
import enum

import numpy as np

from bench.gradients.entry import Array, Arrays, Gradient
from bench.gradients.models import robot_arm


class Form(enum.StrEnum):
    """By which gradient an arm moves. The written ones are of an arm with absolute angles, as the notes' arm is."""

    ABSOLUTE = "corrected, absolute angles"
    RELATIVE = "corrected, relative angles"
    FACTOR = "written: the factor"
    STALE = "written: the stale tip"
    LOOP = "written: the whole loop"


_GRADIENTS: dict[Form, Gradient] = {
    Form.ABSOLUTE: robot_arm.absolute_gradient,
    Form.RELATIVE: robot_arm.relative_gradient,
    Form.FACTOR: robot_arm.extra_factor,
    Form.STALE: robot_arm.stale_tip,
    Form.LOOP: robot_arm.whole_loop,
}


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """What an arm did on its way to a target [2], before the first step and after each.

    ``joints`` are their places [steps + 1, N + 1, 2], the tip last, ``distances`` the tip's [steps + 1].
    """

    form: Form
    target: Array
    joints: Array
    distances: Array

    @property
    def tip(self) -> Array:
        """Where the tip was at the end: [2]."""
        return np.asarray(self.joints[-1, -1])

    def within(self, distance: float) -> int | None:
        """The number of steps after which the tip was this near to the target for the first time, if it ever was."""
        near = np.flatnonzero(self.distances <= distance)
        return int(near[0]) if near.size else None


def simulate(form: Form, angles: Array, target: Array, steps: int, rate: float) -> Trajectory:
    """Move an arm of segments of length 1 by gradient descent, ``angles - rate * gradient`` for all angles at once.

    The angles [N] are radians, the target is [2], and the base is the origin. The iteration before the first is taken
    to have left the arm where it starts: the stale tip is right once.
    """
    place = robot_arm.relative_joints if form is Form.RELATIVE else robot_arm.joints
    segment, upstream = np.array([1.0, 0.0]), np.ones(())
    places = [place(angles, segment)]
    for _ in range(steps):
        previous = places[max(0, len(places) - 2)][-1]
        inputs: Arrays = {"angles": angles, "segment": segment, "target": target, "previous_tip": previous}
        angles = angles - rate * _GRADIENTS[form](inputs, upstream)["angles"]
        places.append(place(angles, segment))
    reached = np.stack(places)
    return Trajectory(form, target, reached, np.linalg.norm(target - reached[:, -1], axis=1))
