"""What the robot arm does: by the corrected gradients, and by the written ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.gradients.claims.notes import Claim, answer
from bench.gradients.entry import Array
from bench.gradients.models.robot_arm import REACHABLE, START
from bench.gradients.models.robot_arm_motion import Form, Trajectory, simulate

UNREACHABLE = np.array([-3.0, 4.5])
REACHED = 1e-6  # a tip that is this near has reached its target; segments have length 1
RATES = {**dict.fromkeys(Form, 0.05), Form.RELATIVE: 0.015}
STEPS = {**dict.fromkeys(Form, 1000), Form.RELATIVE: 5000}
"""A relative angle moves all that is behind it, so that its arm needs the smaller steps, and more of them."""
TARGETS = 16
NEAR = 0.01  # taken for reached where the written loop is counted, which nears some targets slowly


def claims() -> Iterator[Claim]:
    """All claims of this module."""
    reaching = {form: _run(form, REACHABLE) for form in Form}
    stretching = {form: _run(form, UNREACHABLE) for form in Form}
    kinds = {"absolute": Form.ABSOLUTE, "relative": Form.RELATIVE}
    for kind, form in kinds.items():
        yield reaches(f"robot-arm-{kind}-reaches", f"the corrected arm with {kind} angles", reaching[form], True)
    for kind, form in kinds.items():
        yield nearest(f"robot-arm-{kind}-nearest", f"the corrected arm with {kind} angles", stretching[form], True)
    yield reaches("robot-arm-loop-reaches", "the arm that the notes' loop moves", reaching[Form.LOOP], False)
    yield nearest("robot-arm-loop-nearest", "the arm that the notes' loop moves", stretching[Form.LOOP], False)
    yield reaches("robot-arm-factor-reaches", "the arm moved with the factor R alone", reaching[Form.FACTOR], False)
    yield reaches("robot-arm-stale-reaches", "the arm moved by the stale tip alone", reaching[Form.STALE], True)
    yield many_targets()
    yield straight_start()


def reaches(claim_id: str, who: str, run: Trajectory, expected: bool) -> Claim:
    """Whether the tip comes to stay within ``REACHED`` of a target that is within reach."""
    steps, end = len(run.distances) - 1, float(run.distances[-1])
    if end <= REACHED:
        outcome = f"within {REACHED:g} of it after {run.within(REACHED)} steps, and at the end"
    else:
        rest = float(np.ptp(run.joints[-100:, -1], axis=0).max())
        outcome = f"{end:.4f} from it after {steps} steps, at {_point(run.tip)}"
        outcome += ", where it rests" if rest <= REACHED else f", still moving by {rest:.1g} in 100 steps"
    return Claim(
        claim_id,
        f"robot-arm: {who} reaches the target {_point(run.target)}, which is within reach",
        answer(end <= REACHED),
        answer(expected),
        f"5 segments, rate {RATES[run.form]:g}: the tip is {run.distances[0]:.4f} from the target at first, {outcome}",
    )


def nearest(claim_id: str, who: str, run: Trajectory, expected: bool) -> Claim:
    """Whether the tip comes to rest at the point of the arm's reach that is nearest to a target beyond it."""
    reach = float(run.joints.shape[1] - 1)
    distance = float(np.linalg.norm(run.target))
    best = reach * run.target / distance
    excess, aside = float(run.distances[-1] - (distance - reach)), float(np.linalg.norm(run.tip - best))
    there = excess <= REACHED and aside <= REACHED
    return Claim(
        claim_id,
        f"robot-arm: {who} stops at the nearest point to a target out of reach",
        answer(there),
        answer(expected),
        f"5 segments, rate {RATES[run.form]:g}: "
        f"the target {_point(run.target)} is {distance - reach:.4f} beyond the reach of {reach:g}; after "
        f"{len(run.distances) - 1} steps the tip is {run.distances[-1]:.4f} from it, "
        + (f"within {REACHED:g} of the nearest point" if there else f"{aside:.4f} from the nearest point")
        + f" {_point(best)}",
    )


def many_targets() -> Claim:
    """How many of several targets the corrected arm and the notes' loop reach, from the same start."""
    rng = np.random.default_rng(0)
    radii = 0.9 * START.size * np.sqrt(rng.uniform(0.0, 1.0, TARGETS))
    directions = rng.uniform(-np.pi, np.pi, TARGETS)
    targets = radii[:, None] * np.stack([np.cos(directions), np.sin(directions)], axis=1)
    corrected = np.array([_run(Form.ABSOLUTE, target).distances[-1] for target in targets])
    loop = np.array([_run(Form.LOOP, target).distances[-1] for target in targets])
    missed = loop[loop > NEAR]
    return Claim(
        "robot-arm-loop-targets",
        "robot-arm: the notes' loop reaches the targets that the corrected arm with absolute angles reaches",
        answer(bool(np.all(loop[corrected <= REACHED] <= NEAR))),
        "does not hold",
        f"of {TARGETS} targets drawn uniformly from the disc of 90% of the reach, in {STEPS[Form.LOOP]} steps at the "
        f"rate {RATES[Form.LOOP]:g}: the corrected arm reaches {np.sum(corrected <= REACHED)} to within {REACHED:g}, "
        f"the loop {TARGETS - missed.size} to within {NEAR:g}; it ends {np.min(missed, initial=np.inf):.2g} to "
        f"{np.max(missed, initial=0.0):.2g} from the others",
    )


def straight_start() -> Claim:
    """An arm of equal absolute angles has equal gradients, so that it turns about its base and never bends."""
    straight, equal = np.zeros(START.size), np.full(START.size, 0.5)
    absolute = _run(Form.ABSOLUTE, REACHABLE, equal)
    straight[0] = 0.5
    relative = _run(Form.RELATIVE, REACHABLE, straight)
    return Claim(
        "robot-arm-straight-start",
        "robot-arm: the corrected arm with absolute angles reaches a target within reach from every start",
        answer(absolute.distances[-1] <= REACHED),
        "does not hold",
        f"stretched, with all 5 angles 0.5, it has one gradient for all and never bends: it ends "
        f"{absolute.distances[-1]:.4f} from {_point(REACHABLE)}; with relative angles the same arm "
        + (
            f"reaches it, after {relative.within(REACHED)} steps"
            if relative.distances[-1] <= REACHED
            else f"ends {relative.distances[-1]:.4f} from it"
        ),
    )


def _run(form: Form, target: Array, start: Array = START) -> Trajectory:
    return simulate(form, start, target, STEPS[form], RATES[form])


def _point(point: Array) -> str:
    return f"({point[0]:.4g}, {point[1]:.4g})"
