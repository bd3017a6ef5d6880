"""The unpickler: reads what CIFAR-10 needs, runs nothing, and answers damage with one sentence."""

from __future__ import annotations

import functools
import os
import pickle
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.errors import DataError
from bench.sources.unpickle import dump_python2, load_pickle
from tests.refusals import refusal

PIXELS = np.arange(4 * 3072, dtype=np.uint64).astype(np.uint8).reshape(4, 3072)
CONTENT: dict[str, Any] = {
    "batch_label": "training batch 1 of 5",
    "labels": [6, 9, 0, 300],
    "data": PIXELS,
    "filenames": ["leptodactylus_pentadactylus_s_000004.png", "camion_s_000148.png", "a.png", "b.png"],
}
OFFICIAL_FORM = dump_python2(CONTENT)


def test_our_python2_form_is_read_by_pickle_as_other_programs_read_it() -> None:
    loaded = pickle.loads(OFFICIAL_FORM, encoding="latin1")  # noqa: S301
    assert loaded["data"].dtype == np.uint8
    np.testing.assert_array_equal(loaded.pop("data"), PIXELS)
    assert loaded == {k: v for k, v in CONTENT.items() if k != "data"}
    assert set(pickle.loads(OFFICIAL_FORM, encoding="bytes")) == {b"batch_label", b"labels", b"data", b"filenames"}  # noqa: S301


# Written by Python 2.7's cPickle with NumPy 1.16, as the official files were.
PYTHON2 = (
    b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87R"
    b"q\x05(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff"
    b"\xffK\x00tb\x89U\x06\x01\x02\xc8\x04\x05\x06tbU\x06labelsq\x08]q\t(K\x06K\teU\x0bbatch_labelq\nU\x15training "
    b"batch 1 of 5q\x0bU\tfilenamesq\x0c]q\r(U\x05a.pngq\x0eU\x05b.pngq\x0feu."
)


def test_what_python2_wrote_is_read() -> None:
    loaded = load_pickle(PYTHON2, "batch")
    assert loaded.pop("data").tolist() == [[1, 2, 200], [4, 5, 6]]
    assert loaded == {
        "labels": [6, 9],
        "batch_label": b"training batch 1 of 5",
        "filenames": [b"a.png", b"b.png"],
    }


def test_official_form_is_read() -> None:
    loaded = load_pickle(OFFICIAL_FORM, "batch")
    np.testing.assert_array_equal(loaded["data"], PIXELS)
    assert loaded["labels"] == [6, 9, 0, 300]
    assert loaded["batch_label"] == b"training batch 1 of 5"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_todays_numpy_are_read(protocol: int) -> None:
    for array in (PIXELS, np.asfortranarray(PIXELS), PIXELS.astype(">i4"), PIXELS[:0]):
        loaded = load_pickle(pickle.dumps({b"data": array, "labels": [1]}, protocol), "batch")
        np.testing.assert_array_equal(loaded["data"], array)
        assert loaded["data"].dtype == array.dtype
        assert loaded["labels"] == [1]


class _Hostile:
    def __init__(self, function: Any, *args: Any) -> None:
        self._call = (function, args)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_another_class_is_refused_and_not_run(protocol: int, tmp_path: Path) -> None:
    made = tmp_path / "made"
    for function in (os.system, eval, exec, os.mkdir, functools.partial, getattr):
        command = str(made) if function is os.mkdir else f"__import__('os').mkdir({str(made)!r})"
        data = pickle.dumps({"data": _Hostile(function, command), "labels": []}, protocol)
        refused = refusal(load_pickle, data, "batch")
        assert re.search(r"batch names \w+\.\w+.*not run; replace it by the official file", refused), function
        assert not made.exists(), function


OTHER_NAMES = [
    b"(S'x'\nios\nsystem\n.",  # INST
    b"(cos\nsystem\nS'x'\no.",  # OBJ
    b"\x80\x04\x8c\x02os\x8c\x06system\x93.",  # STACK_GLOBAL
    b"cnumpy\nload\n.",
    b"cnumpy.core.multiarray\nscalar\n.",
    b"cnumpy._core.multiarray\n_reconstruct.__globals__\n.",
    b"\x80\x02c__builtin__\neval\n.",
]


def test_other_ways_to_name_something_are_refused() -> None:
    for data in OTHER_NAMES:
        assert "which was not run" in refusal(load_pickle, data, "batch"), data


NO_BATCHES = [
    b"cnumpy\ndtype\n}X\x01\x00\x00\x00a]sb.",  # state for a function that we lend
    b"P1\n.",  # a persistent identifier
    b"\x82\x01.",  # an extension
    b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00zlib\x86R.",
    b"]\x94.",
    b"",
    b"not a pickle",
    pickle.dumps([1, 2]),
    pickle.dumps({1: 2}),
    pickle.dumps({"data": np.array([object(), None], object)[1:]}),
    pickle.dumps({"data": np.zeros(2, "U3")}),
    pickle.dumps({"data": np.zeros(2, [("a", "u1")])}),
]


def test_what_is_no_such_pickle_is_one_sentence() -> None:
    for data in NO_BATCHES:
        assert re.match(
            r"DataError: batch (is not a readable CIFAR-10 pickle|names)", refusal(load_pickle, data, "batch")
        )


def test_shape_that_does_not_match_the_bytes_is_refused() -> None:
    for wrong in (OFFICIAL_FORM.replace(b"K\x04M", b"K\x05M"), OFFICIAL_FORM.replace(b"K\x04J", b"K\x05J")):
        if wrong != OFFICIAL_FORM:
            with pytest.raises(DataError, match="shape does not match"):
                load_pickle(wrong, "batch")
            return
    pytest.fail("the shape was not found in the pickle")


def test_claims_of_great_size_take_no_memory() -> None:
    """The C unpickler would reserve and clear 64 GB for the first of these."""
    assert load_pickle(b"\x80\x02}r\xff\xff\xff\xff.", "batch") == {}
    for claim in (b"B" + struct.pack("<I", 2**32 - 1), b"\x8e" + struct.pack("<Q", 2**62), b"T\xff\xff\xff\x7f"):
        with pytest.raises(DataError, match="not a readable"):
            load_pickle(b"\x80\x04" + claim + b"abc.", "batch")


@settings(max_examples=50)
@given(cut=st.integers(0, len(OFFICIAL_FORM) - 1))
def test_truncated_pickle_is_one_sentence(cut: int) -> None:
    with pytest.raises(DataError, match=r"batch (is not a readable CIFAR-10 pickle|names numpy)"):
        load_pickle(OFFICIAL_FORM[:cut], "batch")


SMALL = dump_python2({"labels": [1, 2], "data": np.zeros((2, 3), np.uint8)})


@settings(max_examples=200)
@example(base=pickle.dumps({"data": PIXELS[:1, :5], b"labels": [1]}, 4), changes=[(23, 10)])
@given(
    base=st.sampled_from([SMALL, PYTHON2, pickle.dumps({"data": PIXELS[:1, :5], b"labels": [1]}, 4)]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_mutated_bytes_give_a_dict_or_one_sentence(base: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(base)
    for position, value in changes:
        data[position % len(data)] = value
    try:
        loaded = load_pickle(bytes(data), "batch")
    except DataError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 400
    else:
        assert all(isinstance(key, str) for key in loaded)


@settings(max_examples=150)
@given(data=st.binary(max_size=200))
def test_random_bytes_give_a_dict_or_one_sentence(data: bytes) -> None:
    try:
        load_pickle(b"\x80\x02" + data, "batch")
    except DataError as error:
        assert "\n" not in str(error)
