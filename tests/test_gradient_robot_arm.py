"""The robot arm: where its joints are, what the audit says of its gradients, and how it moves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bench.gradients.audit import cases_of
from bench.gradients.entry import Array, Verdict
from bench.gradients.models.robot_arm import (
    ENTRIES,
    REACHABLE,
    START,
    absolute_gradient,
    extra_factor,
    joints,
    relative_gradient,
    relative_joints,
    relative_product,
    stale_tip,
    whole_loop,
)
from bench.gradients.models.robot_arm_motion import Form, simulate

ONE = np.ones(())
UNTIMED = settings(max_examples=30, deadline=None)
angles_of = st.lists(st.floats(-10.0, 10.0), min_size=1, max_size=6).map(np.array)
points = st.tuples(st.floats(-4.0, 4.0), st.floats(-4.0, 4.0)).map(np.array)


def an_arm(angles: Array, target: Array, previous_tip: Array | None = None) -> dict[str, Array]:
    segment = np.array([1.0, 0.0])
    tip = joints(angles, segment)[-1] if previous_tip is None else previous_tip
    return {"angles": angles, "segment": segment, "target": target, "previous_tip": tip}


def test_arms_of_one_to_five_segments_are_audited_and_every_written_form_is_wrong() -> None:
    for entry in ENTRIES:
        assert {case.inputs["angles"].size for case, _ in cases_of(entry)} == {1, 2, 3, 5}
        assert {form.expected for form in entry.written} == {Verdict.WRONG}


@UNTIMED
@given(angles_of, st.floats(0.1, 5.0))
def test_no_joint_is_beyond_reach(angles: Array, length: float) -> None:
    places = joints(angles, np.array([length, 0.0]))
    assert places.shape == (angles.size + 1, 2)
    assert not places[0].any()
    np.testing.assert_allclose(np.linalg.norm(np.diff(places, axis=0), axis=1), length, rtol=1e-9)
    assert np.all(np.linalg.norm(places, axis=1) <= length * np.arange(angles.size + 1) * (1 + 1e-12))


@UNTIMED
@given(angles_of)
def test_relative_angles_are_absolute_ones_cumulated(angles: Array) -> None:
    segment = np.array([0.8, 0.6])
    np.testing.assert_array_equal(relative_joints(angles, segment), joints(np.cumsum(angles), segment))
    np.testing.assert_allclose(
        relative_joints(np.diff(angles, prepend=0.0), segment), joints(angles, segment), atol=1e-9
    )


def test_joints_by_hand() -> None:
    quarter = np.array([0.0, np.pi / 2, np.pi / 2])
    np.testing.assert_allclose(joints(quarter, np.array([2.0, 0.0])), [[0, 0], [2, 0], [2, 2], [2, 4]], atol=1e-15)
    np.testing.assert_allclose(
        relative_joints(quarter, np.array([2.0, 0.0])), [[0, 0], [2, 0], [2, 2], [0, 2]], atol=1e-15
    )


@UNTIMED
@given(angles_of, points)
def test_the_gradient_by_relative_angles_is_that_by_absolute_ones_summed_from_the_tip(
    angles: Array, target: Array
) -> None:
    absolute = absolute_gradient(an_arm(np.cumsum(angles), target), ONE)["angles"]
    relative = relative_gradient(an_arm(angles, target), ONE)["angles"]
    np.testing.assert_allclose(relative, absolute[::-1].cumsum()[::-1], rtol=1e-9, atol=1e-9)


@UNTIMED
@given(angles_of, points)
def test_the_written_faults_are_the_named_ones(angles: Array, target: Array) -> None:
    still, moved = an_arm(angles, target), an_arm(angles, target, np.array([0.5, -0.5]))
    right = absolute_gradient(still, ONE)["angles"]
    np.testing.assert_allclose(stale_tip(still, ONE)["angles"], right, atol=1e-12)
    np.testing.assert_allclose(whole_loop(still, ONE)["angles"], extra_factor(still, ONE)["angles"], atol=1e-12)
    for form in (extra_factor, stale_tip, whole_loop):
        assert form(moved, ONE)["angles"].shape == angles.shape
    np.testing.assert_allclose(extra_factor(moved, ONE)["angles"][0], right[0], atol=1e-12)
    np.testing.assert_allclose(stale_tip(moved, ONE)["angles"][-1], right[-1], atol=1e-12)
    relative = relative_gradient(still, ONE)["angles"]
    np.testing.assert_allclose(relative_product(still, ONE)["angles"][-1], relative[-1], atol=1e-12)


def test_one_segment_has_no_segment_before_and_no_stale_tip() -> None:
    inputs = an_arm(np.array([0.3]), REACHABLE, np.array([9.0, 9.0]))
    for form in (extra_factor, stale_tip, whole_loop, relative_product):
        np.testing.assert_allclose(form(inputs, ONE)["angles"], absolute_gradient(inputs, ONE)["angles"], rtol=1e-12)


def test_what_reaches_a_reachable_target() -> None:
    for form, rate in ((Form.ABSOLUTE, 0.05), (Form.RELATIVE, 0.015), (Form.STALE, 0.05)):
        run = simulate(form, START, REACHABLE, 400, rate)
        assert run.distances[-1] <= 1e-6, form
        first = run.within(1e-6)
        assert first is not None
        assert run.distances[first] <= 1e-6 < run.distances[first - 1], form


@settings(deadline=None, max_examples=8)
@given(st.floats(0.5, 4.0), st.floats(-3.1, 3.1))
def test_the_corrected_arm_reaches_targets_in_every_direction(radius: float, direction: float) -> None:
    target = radius * np.array([np.cos(direction), np.sin(direction)])
    start = direction + np.array([-1.2, -0.5, 0.1, 0.8, 1.5])
    assert simulate(Form.ABSOLUTE, start, target, 1000, 0.05).distances[-1] <= 1e-6


def test_the_corrected_arm_points_straight_at_a_target_out_of_reach() -> None:
    target = np.array([-4.0, 5.0])
    for form, rate, steps in ((Form.ABSOLUTE, 0.05, 800), (Form.RELATIVE, 0.01, 2500)):
        run = simulate(form, START, target, steps, rate)
        distance = float(np.linalg.norm(target))
        assert run.distances[-1] == pytest.approx(distance - 5, abs=1e-6), form
        np.testing.assert_allclose(run.tip, 5 * target / distance, atol=1e-6)


def test_the_written_loop_comes_to_rest_away_from_a_reachable_target() -> None:
    for form in (Form.FACTOR, Form.LOOP):
        run = simulate(form, START, REACHABLE, 1000, 0.05)
        assert run.within(1e-2) is None, form
        assert run.distances[-1] > 1.0, form
        assert float(np.ptp(run.joints[-100:, -1], axis=0).max()) < 1e-6, form


def test_a_stretched_arm_of_equal_absolute_angles_never_bends() -> None:
    run = simulate(Form.ABSOLUTE, np.full(5, 0.5), REACHABLE, 500, 0.05)
    assert np.allclose(np.linalg.norm(run.joints[:, -1], axis=1), 5.0)
    assert run.distances[-1] == pytest.approx(2.5, abs=1e-9)


def test_a_trajectory_begins_with_the_start_and_steps_by_the_gradient() -> None:
    run = simulate(Form.LOOP, START, REACHABLE, 2, 0.05)
    segment = np.array([1.0, 0.0])
    assert run.joints.shape == (3, 6, 2)
    assert run.distances.shape == (3,)
    np.testing.assert_array_equal(run.joints[0], joints(START, segment))
    tips, angles = [joints(START, segment)[-1]] * 2, START
    for step in (1, 2):  # the stale tip is that of two arms ago, and at first the start's own
        inputs = {"angles": angles, "segment": segment, "target": REACHABLE, "previous_tip": tips[-2]}
        angles = angles - 0.05 * whole_loop(inputs, ONE)["angles"]
        np.testing.assert_array_equal(run.joints[step], joints(angles, segment))
        tips.append(joints(angles, segment)[-1])
    np.testing.assert_array_equal(run.tip, tips[-1])
    np.testing.assert_allclose(run.distances, [np.linalg.norm(REACHABLE - tip) for tip in tips[1:]], rtol=1e-12)


@UNTIMED
@given(angles_of, points)
def test_the_factor_changes_nothing_where_the_segments_before_are_not_turned(angles: Array, target: Array) -> None:
    assume(angles.size > 1)
    inputs = an_arm(np.concatenate([np.zeros(angles.size - 1), angles[-1:]]), target)
    np.testing.assert_allclose(
        extra_factor(inputs, ONE)["angles"], absolute_gradient(inputs, ONE)["angles"], rtol=1e-9, atol=1e-12
    )
