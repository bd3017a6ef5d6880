"""Tests that every format must pass, also in other packages: subclass `FormatContract` with its cases."""

from loaders.testing.cases import Breaking, Case, Interruption, Prepared, assert_same, beside, die, in_fork, interrupt
from loaders.testing.contract import FormatContract
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
    take,
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
    "take",
]
