"""Reads and writes the pickles of CIFAR-10 without running anything that they name.

The official files were pickled by Python 2: a dict of byte strings, lists and one uint8 array. Whatever a pickle
names is replaced by a passive stand-in, so not even NumPy's own reconstruction sees bytes from a file; an array is
made at the end from a checked shape, type and length.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError

_SIMPLE_TYPE = re.compile(r"[biuf][1248]")


class _DType:
    """What ``numpy.dtype(...)`` pickles to: the type's code and byte order."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: Any) -> None:
        self._code, self._order = _text(code), "|"

    def __setstate__(self, state: Any) -> None:
        self._order = _text(state[1])

    def resolve(self) -> np.dtype[Any]:
        if not _SIMPLE_TYPE.fullmatch(self._code) or self._order not in ("<", ">", "|"):
            raise ValueError(f"an array of type {self._order}{self._code}"[:80])
        return np.dtype(self._order + self._code)


class _Array:
    """What ``numpy.ndarray`` pickles to."""

    __slots__ = ("_dtype", "_fortran", "_raw", "_shape")

    def __init__(self) -> None:
        self._shape: Any = ()
        self._dtype: Any = None
        self._fortran: Any = False
        self._raw: Any = b""

    def __setstate__(self, state: Any) -> None:
        _, self._shape, self._dtype, self._fortran, self._raw = state

    def resolve(self) -> NDArray[Any]:
        if not isinstance(self._dtype, _DType) or not isinstance(self._shape, tuple):
            raise ValueError("an array without type or shape")
        raw = self._raw.encode("latin1") if isinstance(self._raw, str) else self._raw
        dtype, shape = self._dtype.resolve(), tuple(int(length) for length in self._shape)
        if min(shape, default=0) < 0 or len(shape) > 4 or math.prod(shape) * dtype.itemsize != len(raw):
            raise ValueError("an array whose shape does not match its bytes")
        return np.frombuffer(raw, dtype).reshape(shape, order="F" if self._fortran else "C")


class _Named:
    """A function that the pickle may call, and nothing it could change: no attributes, no state."""

    __slots__ = ("_run",)

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run

    def __call__(self, *args: Any) -> Any:
        return self._run(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("state for a function")


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("an unusual encoding")
    return text.encode("latin1")


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", raw))
    return array


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): lambda *_: _Array(),
    ("numpy", "dtype"): lambda code, *_: _DType(code),
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): lambda: b"",  # how the old protocols write an empty array's bytes
}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = lambda *_: _Array()
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _from_buffer  # protocol 5


# The interpreter written in Python: the one in C reserves as much memory as a damaged pickle claims to need.
class _Unpickler(pickle._Unpickler):
    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._name = name

    def find_class(self, module: str, name: str) -> Any:
        if not name:
            raise pickle.UnpicklingError("a name is cut short")
        run = _ALLOWED.get((module, name))
        if run is None:
            named = f"{module[:80]}.{name[:80]}"
            named = named if named.isprintable() else ascii(named)
            raise DataError(
                f"{self._name} names {named}, which no CIFAR-10 file needs and which was not run; "
                "replace it by the official file"
            )
        return _Named(run)


def load_pickle(data: bytes, name: str) -> dict[str, Any]:
    """The dict in a pickle, its keys as text, byte strings as they are, arrays as read-only NumPy arrays.

    Args:
        data: the whole file.
        name: how to call the file in messages.

    Raises:
        DataError: a pickle that is damaged, holds no dict, or names anything but a NumPy array.
    """
    try:
        content = _Unpickler(data, name).load()
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__} instead of a dict")
        return {_text(key): _resolved(value) for key, value in content.items()}
    except DataError:
        raise
    except Exception as error:  # damaged bytes make an unpickler raise whatever there is
        reason = str(error).replace("\n", " ")[:120] or type(error).__name__
        raise DataError(
            f"{name} is not a readable CIFAR-10 pickle ({reason}); replace it by the official file"
        ) from error


def _resolved(value: Any) -> Any:
    return value.resolve() if isinstance(value, _Array) else value


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise ValueError(f"a {type(value).__name__} where a name belongs")
    return value


def dump_python2(content: dict[str, Any]) -> bytes:
    """Pickle a dict as Python 2 did, which Python 3's ``pickle`` cannot: its text is read as ``str`` by ``latin1``.

    Args:
        content: ASCII text, integers, lists of these, and C-contiguous uint8 arrays.
    """
    out = bytearray(pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK)
    for key, value in content.items():
        _dump(key, out)
        _dump(value, out)
    return bytes(out + pickle.SETITEMS + pickle.STOP)


def _dump(value: Any, out: bytearray) -> None:
    if isinstance(value, str):
        _dump_bytes(value.encode("ascii"), out)
    elif isinstance(value, int):
        out += pickle.BININT1 + bytes([value]) if 0 <= value < 256 else pickle.BININT + struct.pack("<i", value)
    elif isinstance(value, list):
        out += pickle.EMPTY_LIST + pickle.MARK
        for item in value:
            _dump(item, out)
        out += pickle.APPENDS
    elif isinstance(value, np.ndarray) and value.dtype == np.uint8:
        out += pickle.GLOBAL + b"numpy.core.multiarray\n_reconstruct\n" + pickle.GLOBAL + b"numpy\nndarray\n"
        out += pickle.BININT1 + b"\0" + pickle.TUPLE1
        _dump_bytes(b"b", out)
        out += pickle.TUPLE3 + pickle.REDUCE + pickle.MARK + pickle.BININT1 + b"\x01" + pickle.MARK
        for length in value.shape:
            _dump(length, out)
        out += pickle.TUPLE + pickle.GLOBAL + b"numpy\ndtype\n"
        _dump_bytes(b"u1", out)
        out += pickle.BININT1 + b"\0" + pickle.BININT1 + b"\x01" + pickle.TUPLE3 + pickle.REDUCE
        out += pickle.MARK + pickle.BININT1 + b"\x03"
        _dump_bytes(b"|", out)
        out += pickle.NONE * 3 + 2 * (pickle.BININT + struct.pack("<i", -1)) + pickle.BININT1 + b"\0"
        out += pickle.TUPLE + pickle.BUILD + pickle.NEWFALSE
        _dump_bytes(value.tobytes(), out)
        out += pickle.TUPLE + pickle.BUILD
    else:
        raise TypeError(f"no CIFAR-10 file holds a {type(value).__name__}")


def _dump_bytes(data: bytes, out: bytearray) -> None:
    if len(data) < 256:
        out += pickle.SHORT_BINSTRING + bytes([len(data)])
    else:
        out += pickle.BINSTRING + struct.pack("<i", len(data))
    out += data
