"""Accuracy and macro-F1 against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from bench.train.scores import score


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), min_size=1, max_size=60))
def test_agrees_with_scikit_learn(classes: int, pairs: list[tuple[int, int]]) -> None:
    predicted, labels = np.array(pairs).T % classes
    got = score(torch.from_numpy(predicted), torch.from_numpy(labels), classes)
    assert got.accuracy == pytest.approx(accuracy_score(labels, predicted))
    # Both leave out classes that are neither present nor predicted.
    assert got.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro", zero_division=0), abs=1e-6)
