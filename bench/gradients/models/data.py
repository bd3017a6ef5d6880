"""The data that the models are trained on, and their scaling: house prices, and three sets that scikit-learn brings.

The study notes report fits of house prices without their data. The table here is invented, and nothing in it is chosen
to give the notes' numbers; these cannot be reproduced.
"""

from __future__ import annotations

import http.client
import os
import pickle
import socket
import warnings
import zlib
from typing import NamedTuple

import numpy as np

from bench.errors import DataError
from bench.gradients.layers.variable import Array, checked

ABOUT_HOUSES = "20 invented houses, stated in the code; floor area scaled to [-1, 1], price in millions"
ABOUT_HOUSES_SCALED = "20 invented houses, stated in the code; floor area and price scaled to [-1, 1]"
ABOUT_DIABETES = "first 8 features of the diabetes set bundled with scikit-learn, 442 samples, scaled to [-1, 1]"
ABOUT_CALIFORNIA = "California housing as scikit-learn fetches it, 20,640 samples of 8 features, scaled to [-1, 1]"
ABOUT_DIGITS = "the first 320 of the 8x8 digits bundled with scikit-learn, grey levels over 16"

TIMEOUT_S = 30.0  # longest silence of the server that California housing is fetched from

# Floor area in square metres, price in thousands.
HOUSES = (
    (38, 142), (45, 171), (52, 165), (58, 214), (64, 209), (71, 238), (77, 281), (83, 262), (90, 305), (96, 334),
    (104, 321), (111, 379), (118, 392), (127, 405), (135, 461), (144, 448), (156, 523), (168, 541), (183, 612),
    (205, 668),
)  # fmt: skip


class Regression(NamedTuple):
    """Features float64 ``[N, D]`` and targets float64 ``[N, 1]``, in the units they come in."""

    features: Array
    targets: Array


def houses() -> Regression:
    """The floor area of each house in square metres, and its price in millions: all prices lie in (0, 1)."""
    table = np.array(HOUSES, dtype=np.float64)
    return Regression(table[:, :1], table[:, 1:] / 1000)


def diabetes() -> Regression:
    """The first 8 features of scikit-learn's bundled diabetes set, and the disease's progression after a year."""
    from sklearn.datasets import load_diabetes

    features, targets = load_diabetes(return_X_y=True)
    return Regression(features[:, :8].astype(np.float64), targets.astype(np.float64)[:, None])


def california() -> Regression:
    """California housing: 8 features of 20,640 districts, and the median price in 100,000 dollars.

    Read from scikit-learn's data folder, and downloaded to it by scikit-learn where it is missing.

    Raises:
        DataError: it could not be downloaded, or what is in the folder is damaged.
    """
    from sklearn.datasets import fetch_california_housing

    home = os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)  # scikit-learn sets none, and would wait for a silent server for ever
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # announces the second attempt
            features, targets = fetch_california_housing(return_X_y=True, n_retries=1)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(
            f"California housing could not be fetched ({error}); connect to the network, or copy cal_housing_py3.pkz "
            f"from the scikit_learn_data folder of a machine that has it to {home}, or train on the bundled diabetes "
            "set, without --california"
        ) from error
    except (EOFError, LookupError, ValueError, pickle.UnpicklingError, zlib.error) as error:
        reason = str(error) or type(error).__name__
        raise DataError(
            f"cal_housing_py3.pkz in {home} is damaged ({reason}); delete it, and it is fetched anew"
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
    return Regression(features.astype(np.float64), targets.astype(np.float64)[:, None])


def digits() -> tuple[Array, Array]:
    """The first 320 digits, float64 ``[320, 1, 8, 8]`` in [0, 1], and their labels, int64 ``[320]``."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return images[:320].reshape(-1, 1, 8, 8) / 16, labels[:320].astype(np.int64)


def scaled(values: Array) -> Array:
    """Each column of ``values``, float ``[N, D]``, scaled to [-1, 1]."""
    return normalise(values, ranges_of(values))


class Ranges(NamedTuple):
    """The smallest and the largest value of each column, both float ``[D]``."""

    low: Array
    high: Array


def ranges_of(values: Array) -> Ranges:
    """The range of each column of ``values``, float ``[N, D]``; ``ValueError`` for what cannot be scaled."""
    checked("what is scaled", values, ndim=2)
    low, high = values.min(axis=0), values.max(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        extent = high - low
    for column in np.flatnonzero(~np.isfinite(extent)):
        raise ValueError(f"column {column} reaches from {low[column]} to {high[column]}, which is beyond any scale")
    for column in np.flatnonzero(extent == 0):
        raise ValueError(f"column {column} is {low[column]} everywhere and cannot be scaled; leave it out")
    return Ranges(low, high)


def normalise(values: Array, ranges: Ranges) -> Array:
    """``2 (v - low) / (high - low) - 1``: ``low`` becomes -1 and ``high`` 1, and what lies beyond ends outside."""
    checked("what is normalised", values, shape=(None, len(ranges.low)))
    return np.asarray((values - ranges.low) / (ranges.high - ranges.low) * 2 - 1)


def denormalise(values: Array, ranges: Ranges) -> Array:
    """The inverse of ``normalise``, but for rounding."""
    checked("what is denormalised", values, shape=(None, len(ranges.low)))
    return np.asarray(ranges.low + (values + 1) / 2 * (ranges.high - ranges.low))
