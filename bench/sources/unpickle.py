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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import DataError

_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # how the old protocols write bytes
    ("__builtin__", "bytes"),  # how they write no bytes
    *((f"{core}.multiarray", "_reconstruct") for core in ("numpy.core", "numpy._core")),
    *((f"{core}.numeric", "_frombuffer") for core in ("numpy.core", "numpy._core")),  # protocol 5
}
_SIMPLE_TYPE = re.compile(r"[<>|][biuf][1248]")


class _Named:
    """Something that a pickle names: calls and states are noted and not run, but for making bytes of text."""

    def __init__(self, name: str, args: tuple[Any, ...] = ()) -> None:
        self.name, self.args = name, args
        self.state: Any = None

    def __call__(self, *args: Any) -> Any:
        if self.name == "encode":
            text, encoding = args
            if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
                raise pickle.UnpicklingError("an unusual encoding")
            return text.encode("latin1")
        return b"" if self.name == "bytes" else _Named(self.name, args)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> NDArray[Any]:
        if self.name == "_frombuffer":
            raw, dtype, shape, order = self.args
        else:
            _, shape, dtype, is_fortran, raw = self.state
            order = "F" if is_fortran else "C"
        if not isinstance(dtype, _Named) or not isinstance(dtype.state, tuple) or not isinstance(shape, tuple):
            raise ValueError("an array without type or shape")
        code = _text(dtype.state[1]) + _text(dtype.args[0])
        if not _SIMPLE_TYPE.fullmatch(code):
            raise ValueError(f"an array of type {code}"[:80])
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        lengths = tuple(int(length) for length in shape)
        if min(lengths, default=0) < 0 or len(lengths) > 4 or math.prod(lengths) * np.dtype(code).itemsize != len(raw):
            raise ValueError("an array whose shape does not match its bytes")
        return np.frombuffer(raw, code).reshape(lengths, order=order)


# The interpreter written in Python: the one in C reserves as much memory as a damaged pickle claims to need.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if not name:
            raise pickle.UnpicklingError("a name is cut short")
        if (module, name) not in _ALLOWED:
            named = f"{module[:80]}.{name[:80]}"
            shown = f"{named if named.isprintable() else ascii(named)}, which no CIFAR-10 file needs"
            raise DataError(f"names {shown} and which was not run")
        return _Named(name)


def load_pickle(data: bytes, name: str) -> dict[str, Any]:
    """The dict in a pickle, its keys as text, byte strings as they are, arrays as NumPy arrays.

    A ``DataError`` with the file's ``name`` where it is damaged, holds no dict, or names anything but a NumPy array.
    """
    try:
        content = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__} instead of a dict")
        return {_text(key): value.array() if isinstance(value, _Named) else value for key, value in content.items()}
    except DataError as error:
        raise DataError(f"{name} {error}; replace it by the official file") from None
    except Exception as error:  # damaged bytes make an unpickler raise whatever there is
        reason = str(error).replace("\n", " ")[:120] or type(error).__name__
        message = f"{name} is not a readable CIFAR-10 pickle ({reason}); replace it by the official file"
        raise DataError(message) from error


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise ValueError(f"a {type(value).__name__} where a name belongs")
    return value


# What Python 2's NumPy pickled a uint8 array to: around its shape, and around its bytes.
_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01("
_UINT8 = b"tcnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"


def dump_python2(content: dict[str, Any]) -> bytes:
    """Pickle a dict of ASCII text, integers, lists of these, and C-contiguous uint8 arrays as Python 2 did.

    Python 3's ``pickle`` cannot write text that ``encoding="latin1"`` reads as ``str``.
    """
    items = b"".join(_dump(key) + _dump(value) for key, value in content.items())
    return pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS + pickle.STOP


def _dump(value: Any) -> bytes:
    if isinstance(value, str | bytes):
        data = value if isinstance(value, bytes) else value.encode("ascii")
        if len(data) < 256:
            return pickle.SHORT_BINSTRING + bytes([len(data)]) + data
        return pickle.BINSTRING + struct.pack("<i", len(data)) + data
    if isinstance(value, int):
        return pickle.BININT1 + bytes([value]) if 0 <= value < 256 else pickle.BININT + struct.pack("<i", value)
    if isinstance(value, list):
        return pickle.EMPTY_LIST + pickle.MARK + b"".join(map(_dump, value)) + pickle.APPENDS
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        shape = b"".join(map(_dump, value.shape))
        return _ARRAY + shape + _UINT8 + _dump(value.tobytes()) + b"tb"
    raise TypeError(f"no CIFAR-10 file holds a {type(value).__name__}")
