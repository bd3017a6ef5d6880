"""Tests that every format must pass, for a package of one's own: subclass `FormatContract` with its cases."""

from loaders.testing.contract import (
    Breaking,
    Case,
    FormatContract,
    Interruption,
    Prepared,
    assert_same,
    beside,
    die,
    in_fork,
    interrupt,
)
from loaders.testing.samples import (
    CLASSES,
    INFO,
    SIZE,
    RaggedSamples,
    Samples,
    SourceKind,
    a_file,
    make_splits,
    pixels_of,
    write_folder,
)

__all__ = [
    "CLASSES",
    "INFO",
    "SIZE",
    "Breaking",
    "Case",
    "FormatContract",
    "Interruption",
    "Prepared",
    "RaggedSamples",
    "Samples",
    "SourceKind",
    "a_file",
    "assert_same",
    "beside",
    "die",
    "in_fork",
    "interrupt",
    "make_splits",
    "pixels_of",
    "write_folder",
]
