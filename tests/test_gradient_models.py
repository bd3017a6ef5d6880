"""The models on plain data: their entries hold, their data are what is stated, scaling goes both ways, bad input."""

from __future__ import annotations

import dataclasses
import socket
import urllib.request
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes, load_digits

from bench.errors import DataError
from bench.gradients.audit import cases_of
from bench.gradients.entry import Array, Case, Entry
from bench.gradients.models import ENTRIES, TRAINABLES, convnet, data, house, mlp, variable_oop
from bench.gradients.models.data import Ranges, denormalise, normalise, ranges_of
from bench.gradients.parity import train

Floats = NDArray[np.float64]

MINE = (*house.ENTRIES, *mlp.ENTRIES, *variable_oop.ENTRIES, *convnet.ENTRIES)


def cases(entry: Entry) -> dict[str, Case]:
    return {case.name: case for case, _ in cases_of(entry)}


def form(entry: Entry, name: str) -> Any:
    (written,) = [written for written in entry.written if written.name == name]
    return written.gradient


def test_every_model_is_gathered_once() -> None:
    ids = [entry.id for entry in ENTRIES]
    assert len(set(ids)) == len(ids)
    assert {entry.id for entry in MINE} <= set(ids)
    assert {trainable.entry.id for trainable in TRAINABLES} <= set(ids)
    assert {entry.id for entry in MINE} <= {trainable.entry.id for trainable in TRAINABLES}


def test_the_cases_have_what_planted_faults_need() -> None:
    for entry in MINE:
        assert "batch of 1" in " ".join(cases(entry)), entry.id
        assert {case.kind for case in cases(entry).values()} >= {"regular", "extreme"}, entry.id


def test_the_lost_factor_is_minus_n() -> None:
    """So the written step climbs wherever the right one descends."""
    for entry in mlp.ENTRIES:
        case, g = next((case, g) for case, g in cases_of(entry) if case.name == "7 samples, 3-5-2")
        right, written = entry.corrected(case.inputs, g), form(entry, "chain")(case.inputs, g)
        for name, gradient in right.items():
            np.testing.assert_allclose(written[name], -case.inputs["y"].size * gradient, rtol=1e-12)


def test_the_line_for_b1_that_ends_in_x_is_the_one_for_w1() -> None:
    case = cases(mlp.TANH_LEAKY)["one feature"]
    g = np.array(1.0)
    right = mlp.TANH_LEAKY.corrected(case.inputs, g)
    assert np.array_equal(form(mlp.TANH_LEAKY, "first line for b1")(case.inputs, g)["b1"], right["W1"][:, 0])
    assert np.array_equal(form(mlp.TANH_LEAKY, "next line for b1")(case.inputs, g)["b1"], right["b1"])


def test_the_bias_before_batch_normalisation_has_no_gradient() -> None:
    inputs = cases(convnet.ENTRY)["square"].inputs
    network = convnet.network(inputs)
    network.forward(inputs["x"])
    network.backward(np.random.default_rng(0).standard_normal((4, 4)))
    gradients = {name: float(np.abs(p.grad).max()) for name, p in network.parameters().items()}
    assert gradients.pop("0.b") < 1e-14
    assert min(gradients.values()) > 1e-3
    assert set(gradients) == set(convnet.PARAMETERS)


def test_how_far_a_kink_is() -> None:
    relu, leaky = (trainable.margin for trainable in mlp.TRAINABLES)
    assert relu is not None
    assert leaky is not None
    corners = cases(mlp.RELU)
    assert relu(corners["hidden unit at 0"].inputs) == 0
    assert relu(corners["hidden unit at -1e-09"].inputs) == pytest.approx(1e-9)
    assert relu({**corners["hidden unit at 1e-09"].inputs, "b1": np.array([0.125, 0.5])}) == 0.125
    assert leaky(corners["residual 0"].inputs) == leaky(corners["output at 0"].inputs) == 0
    assert leaky(corners["output at 1e-09"].inputs) == pytest.approx(1e-9)


def test_how_far_a_kink_of_the_convnet_is() -> None:
    found = cases(convnet.ENTRY)
    assert convnet.margin(found["equal maxima, and a channel at 0"].inputs) == 0
    assert convnet.margin(found["a channel at 1e-09"].inputs) == pytest.approx(1e-9)
    assert convnet.margin(found["square"].inputs) > 1e-6
    # Two pixels that part by 1e-7 in one window: their outputs lead by about as little, and nothing else is that near.
    close = {**found["square"].inputs, "0.W": np.zeros((4, 4, 3, 3))}
    close["0.W"][:, :, 1, 1] = np.eye(4)
    x = np.random.default_rng(1).normal(size=(4, 4, 4, 4))
    x[0, 0, :2, :2] = [[5.0, 5.0 + 1e-7], [0.0, 1.0]]
    assert 1e-8 < convnet.margin({**close, "x": x}) < 1e-6
    x[0, 0, 0, 1] = 5.0
    assert convnet.margin({**close, "x": x}) > 1e-6


def test_the_closed_solutions_are_those_of_polyfit() -> None:
    inputs = house.TRAINABLES[0].data()
    for trainable, feature in ((house.TRAINABLES[0], inputs["x"]), (house.TRAINABLES[2], inputs["x"] ** 3)):
        assert trainable.optimum is not None
        slope, offset = np.polyfit(feature, inputs["y"], 1)
        found = trainable.optimum()
        assert (float(found["W"]), float(found["b"])) == pytest.approx((slope, offset), rel=1e-12)


def test_houses() -> None:
    areas, prices = data.houses()
    assert areas.shape == prices.shape == (20, 1)
    assert np.all((prices > 0) & (prices < 1))
    assert np.all(np.diff(areas[:, 0]) > 0)


def test_the_data_in_short_are_what_is_trained_on() -> None:
    abouts = {trainable.entry.id: (trainable.about_data, trainable.data()) for trainable in TRAINABLES}
    about, inputs = abouts["variable-oop"]
    features, targets = load_diabetes(return_X_y=True)
    assert "442 samples" in about
    assert inputs["x"].shape == (len(features), 8)
    assert np.array_equal(inputs["x"].min(axis=0), [-1] * 8)
    assert np.array_equal(inputs["x"].max(axis=0), [1] * 8)
    assert np.corrcoef(inputs["x"][:, 7], features[:, 7])[0, 1] == pytest.approx(1)
    assert np.corrcoef(inputs["y"][:, 0], targets)[0, 1] == pytest.approx(1)
    about, inputs = abouts["convnet"]
    assert "first 320" in about
    assert np.array_equal(inputs["x"][:, 0] * 16, load_digits().images[:320])
    assert np.array_equal(inputs["y"], load_digits().target[:320])


def test_predictions_come_in_the_targets_unit() -> None:
    """The root mean square of the errors is that of the scaled ones times half the range, and beats a constant."""
    trainable = dataclasses.replace(variable_oop.DIABETES, epochs=40)
    trained = train(trainable).trained
    samples = data.diabetes()
    rms = float(np.sqrt(np.mean((variable_oop.predict(trained, samples.features, samples) - samples.targets) ** 2)))
    scaled = float(variable_oop.ENTRY.forward({**trainable.data(), **trained}))
    assert rms == pytest.approx(np.sqrt(scaled) * np.ptp(samples.targets) / 2)
    assert rms < 0.85 * samples.targets.std()


# --- scaling ---------------------------------------------------------------------------------------------------------

columns = arrays(
    np.float64,
    st.tuples(st.integers(2, 9), st.integers(1, 5)),
    elements=st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda value: round(value, 3)),
).filter(lambda values: bool(np.all(np.ptp(values, axis=0) > 0)))


@settings(max_examples=40, deadline=None)
@given(columns)
def test_scaling_goes_both_ways(values: Floats) -> None:
    ranges = ranges_of(values)
    scaled = normalise(values, ranges)
    assert np.array_equal(scaled.min(axis=0), -np.ones(values.shape[1]))
    assert np.array_equal(scaled.max(axis=0), np.ones(values.shape[1]))
    extent = np.abs(values).max()
    np.testing.assert_allclose(denormalise(scaled, ranges), values, rtol=0, atol=1e-15 * 4 * extent)
    np.testing.assert_array_equal(np.argsort(values[:, 0], kind="stable"), np.argsort(scaled[:, 0], kind="stable"))


def test_scaling_is_linear_and_reaches_beyond_the_ranges() -> None:
    ranges = ranges_of(np.array([[10.0, -1.0], [30.0, 3.0]]))
    assert np.array_equal(normalise(np.array([[20.0, 5.0], [15.0, 1.0]]), ranges), [[0.0, 2.0], [-0.5, 0.0]])
    assert np.array_equal(denormalise(np.array([[0.0, 2.0], [-0.5, 0.0]]), ranges), [[20.0, 5.0], [15.0, 1.0]])


def test_what_cannot_be_scaled() -> None:
    refused: list[tuple[Array, str]] = [
        (np.array([[1.0, 7.0], [2.0, 7.0]]), r"column 1 is 7\.0 everywhere and cannot be scaled; leave it out"),
        (np.array([[1.0], [np.nan]]), "contains NaN"),
        (np.array([[1.0], [np.inf]]), "contains an infinity"),
        (np.array([[-1.5e308], [1.5e308]]), "column 0 reaches from -1.5e.308 to 1.5e.308, which is beyond any scale"),
        (np.empty((0, 2)), "is empty"),
        (np.array([1.0, 2.0]), "must have 2 dimensions"),
        (np.array([[1], [2]]), "must be a float32 or float64 array, not int64"),
    ]
    for values, sentence in refused:
        with pytest.raises(ValueError, match=sentence):
            ranges_of(values)
    ranges = Ranges(np.zeros(2), np.ones(2))
    for way in (normalise, denormalise):
        with pytest.raises(ValueError, match=r"must have the shape \(any, 2\), not \(3, 1\)"):
            way(np.ones((3, 1)), ranges)
        with pytest.raises(ValueError, match="contains NaN"):
            way(np.array([[0.5, np.nan]]), ranges)


# --- bad input -------------------------------------------------------------------------------------------------------


def test_features_that_do_not_fit() -> None:
    changes: list[tuple[Any, str]] = [
        (lambda x: np.where(np.arange(x.size).reshape(x.shape) == 0, np.nan, x), "contains NaN"),
        (lambda x: x[:0], "is empty"),
        (lambda x: x[..., None], "dimensions|must have the shape"),
        (lambda x: x.astype(np.int64), "must be a float32 or float64 array"),
        (lambda x: np.concatenate([x, x]), "must have the shape"),
    ]
    for entry in MINE:
        inputs = next(iter(cases(entry).values())).inputs
        for change, sentence in changes:
            with pytest.raises(ValueError, match=sentence):
                entry.forward({**inputs, "x": change(inputs["x"])})


def test_other_input_that_does_not_fit() -> None:
    refused: list[tuple[Entry, str, Array, str]] = [
        (house.LINEAR, "W", np.ones(3), "W of the house model must be one number"),
        (house.CUBIC, "b", np.array(np.nan), "b of the house model must be finite"),
        (house.SIGMOID, "y", np.ones((7, 1)), "y of the house model must have the shape"),
        (mlp.RELU, "W1", np.ones((3, 2)), r"W1 of the network must have the shape \(3, 3\), not \(3, 2\)"),
        (mlp.RELU, "b1", np.array([0.0, np.inf, 1.0]), "b1 of the network contains an infinity"),
        (mlp.TANH_LEAKY, "W2", np.ones((3, 4)), r"W2 of the network must have the shape \(3, 3\), not \(3, 4\)"),
        (mlp.TANH_LEAKY, "b2", np.ones((3, 3)), "b2 of the network must have 1 dimensions"),
        (mlp.TANH_LEAKY, "y", np.ones(3), "y of the network must have the shape"),
        (variable_oop.ENTRY, "2.W", np.ones((4, 5)), "the input of Linear must have the shape"),
        (convnet.ENTRY, "y", np.array([0, 1, 10]), "labels of CCE"),
        (convnet.ENTRY, "1.gamma", np.ones(3), "beta of BatchNorm2d must have the shape"),
    ]
    for entry, name, value, sentence in refused:
        inputs = next(iter(cases(entry).values())).inputs
        with pytest.raises(ValueError, match=sentence):
            entry.forward({**inputs, name: value})


def test_the_activation_of_the_output_has_both_branches() -> None:
    z = np.array([[-2.0, 0.0, 2.0]])
    assert np.array_equal(mlp.leaky(z, {"alpha": np.array(0.25)}), [[-0.5, 0.0, 2.0]])


# --- California housing ----------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, and a proxy that nothing listens at, so that scikit-learn's own download fails."""
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setattr(urllib.request, "_opener", None)  # keeps the proxies of the first request of all
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    return tmp_path


def test_california_without_a_network(home: Path) -> None:
    with pytest.raises(DataError) as caught:
        variable_oop.california().data()
    message = str(caught.value)
    assert message.startswith("California housing could not be fetched (")
    assert f"copy cal_housing_py3.pkz from the scikit_learn_data folder of a machine that has it to {home}" in message
    assert "without --california" in message
    assert list(home.iterdir()) == []


def test_california_from_a_server_that_falls_silent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(DataError, match=r"could not be fetched .*timed out"):
            data.california()
    assert socket.getdefaulttimeout() is None


def test_california_where_there_can_be_no_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").touch()
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(home / "file"))
    with pytest.raises(DataError, match=r"could not be fetched .*file"):
        data.california()


def test_california_in_the_data_folder(home: Path) -> None:
    """As scikit-learn keeps it: the target first, then eight columns, three of them sums over a district's homes."""
    table = np.random.default_rng(0).uniform(1, 100, (2000, 9))
    joblib.dump(table, home / "cal_housing_py3.pkz", compress=6)
    trainable = dataclasses.replace(variable_oop.california(), epochs=2)
    inputs = trainable.data()
    assert inputs["x"].shape == (2000, 8)
    assert inputs["y"].shape == (2000, 1)
    assert (inputs["x"].min(), inputs["x"].max(), inputs["y"].min(), inputs["y"].max()) == (-1, 1, -1, 1)
    assert np.corrcoef(inputs["y"][:, 0], table[:, 0])[0, 1] == pytest.approx(1)
    parity = train(trainable)
    assert parity.steps == 4
    assert parity.worst < 1e-9
    assert trainable.entry.id not in {entry.id for entry in ENTRIES}


def test_california_damaged(home: Path) -> None:
    file = home / "cal_housing_py3.pkz"
    joblib.dump(np.random.default_rng(0).uniform(1, 100, (500, 9)), file, compress=6)
    for kept in (1000, 0):
        file.write_bytes(file.read_bytes()[:kept])
        with pytest.raises(DataError, match=r"cal_housing_py3\.pkz in .* is damaged \(.+\); delete it"):
            data.california()
