"""What the notes claim, and the numbers that the verdicts rest on."""

from __future__ import annotations

import functools
import re

import numpy as np

from bench.gradients.claims import Claim, claims
from bench.gradients.claims.arm import UNREACHABLE, nearest, reaches
from bench.gradients.models.robot_arm import REACHABLE, START
from bench.gradients.models.robot_arm_motion import Form, simulate

EXPECTED = {
    "net-3-2-1-third-input": "holds",
    "net-3-2-1-output-weight": "does not hold",
    "house-linear-fit": "cannot be checked",
    "house-sigmoid-fit": "cannot be checked",
    "house-cubic-fit": "cannot be checked",
    "mse-limits": "does not hold",
    "sgd-simultaneous": "holds",
    "mae-step": "does not hold",
    "tanh-quotient": "does not hold",
    "robot-arm-absolute-reaches": "holds",
    "robot-arm-relative-reaches": "holds",
    "robot-arm-absolute-nearest": "holds",
    "robot-arm-relative-nearest": "holds",
    "robot-arm-loop-reaches": "does not hold",
    "robot-arm-loop-nearest": "does not hold",
    "robot-arm-factor-reaches": "does not hold",
    "robot-arm-stale-reaches": "holds",
    "robot-arm-loop-targets": "does not hold",
    "robot-arm-straight-start": "does not hold",
}


@functools.cache
def found() -> dict[str, Claim]:
    made = list(claims())
    by_id = {claim.id: claim for claim in made}
    assert len(by_id) == len(made)
    return by_id


def evidence(claim_id: str) -> str:
    return found()[claim_id].evidence


def test_the_claims_have_the_expected_verdicts_and_numbers() -> None:
    assert {claim_id: claim.verdict for claim_id, claim in found().items()} == EXPECTED
    assert list(found()) == list(EXPECTED)
    for claim in found().values():
        assert claim.verdict == claim.expected, claim.id
        assert re.search(r"\d", claim.evidence), claim.id
        assert "\n" not in claim.statement + claim.evidence, claim.id
        assert (claim.statement + claim.evidence).isascii(), claim.id


def test_intervals_of_the_third_input() -> None:
    for bound in (0.03075 / 0.03815, 0.03085 / 0.03805, 0.02685 / 0.03325, 0.02695 / 0.03315):
        assert f"{bound:.4f}" in evidence("net-3-2-1-third-input")


def test_bound_of_the_output_weight() -> None:
    assert f"below {4 / 27:.4f}" in evidence("net-3-2-1-output-weight")
    assert "z = 0.3333 and 0.6667" in evidence("net-3-2-1-output-weight")
    z = np.linspace(0.01, 0.99, 981)
    needed = float(np.min(z + 0.2162 / (z * (1 - z))))
    assert f"above {needed:.2f}" in evidence("net-3-2-1-output-weight")


def test_fits_name_the_printed_numbers() -> None:
    for name, numbers in {
        "linear": (2.9393, -3.298, 1.103),
        "sigmoid": (1.1346, -4.6483, 0.01402),
        "cubic": (0.14135, 0.51635, 0.01383),
    }.items():
        assert all(str(number) in found()[f"house-{name}-fit"].statement for number in numbers)
        assert "no data" in evidence(f"house-{name}-fit")


def test_five_terms_over_four() -> None:
    assert f"it is {55 / 4:g}, and their mean square is {55 / 5:g}" in evidence("mse-limits")


def test_step_of_both_parameters_at_once() -> None:
    x, y = np.array([0.5, 1.0, 2.0]), np.array([1.0, 2.0, 2.5])
    residual = 0.25 * x - 0.5 - y
    together = 0.25 - 0.1 * 2 * float(np.mean(residual * x))
    later = residual - 0.1 * 2 * float(np.mean(residual))
    leaked = 0.25 - 0.1 * 2 * float(np.mean(later * x))
    assert f"W = {together:.6f}, as torch.optim.SGD" in evidence("sgd-simultaneous")
    assert f"b updated first W = {leaked:.6f}" in evidence("sgd-simultaneous")


def test_losses_after_the_steps_of_mae() -> None:
    x, y = np.array([1.0, 2.0, 4.0]), np.array([2.0, 3.0, 7.0])  # every prediction w x is too small
    for w in (0.5, 0.5 - 0.01 * 7, 0.5 + 0.01 * 7 / 3):
        assert f"{np.mean(y - w * x):.4f}" in evidence("mae-step")


def test_where_the_quotient_overflows() -> None:
    assert "x = 354.9" in evidence("tanh-quotient")
    assert "at x = 360 nan; 1 - tanh(x)^2 is 0 and 0" in evidence("tanh-quotient")


def test_the_arms_evidence_is_what_a_simulation_gives() -> None:
    run = simulate(Form.LOOP, START, REACHABLE, 1000, 0.05)
    assert f"{run.distances[-1]:.4f} from it after 1000 steps" in evidence("robot-arm-loop-reaches")
    assert "where it rests" in evidence("robot-arm-loop-reaches")
    run = simulate(Form.ABSOLUTE, START, REACHABLE, 1000, 0.05)
    assert f"within 1e-06 of it after {run.within(1e-6)} steps" in evidence("robot-arm-absolute-reaches")
    beyond = float(np.linalg.norm(UNREACHABLE)) - 5
    assert f"the tip is {beyond:.4f} from it, within 1e-06" in evidence("robot-arm-absolute-nearest")
    counts = re.search(r"reaches (\d+) to within 1e-06, the loop (\d+)", evidence("robot-arm-loop-targets"))
    assert counts is not None
    assert int(counts[1]) == 16 > int(counts[2]) > 0


def test_an_arm_on_its_way_has_not_reached_and_does_not_rest() -> None:
    claim = reaches("a", "an arm", simulate(Form.ABSOLUTE, START, REACHABLE, 20, 0.05), True)
    assert (claim.verdict, claim.expected) == ("does not hold", "holds")
    assert "still moving" in claim.evidence
    claim = nearest("a", "an arm", simulate(Form.ABSOLUTE, START, UNREACHABLE, 20, 0.05), True)
    assert claim.verdict == "does not hold"
    assert "from the nearest point" in claim.evidence
