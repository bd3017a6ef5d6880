"""Runs the command line within the test's process: an interpreter with torch takes seconds to start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.cli import main


class Done(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


class Bench:
    """``bench ARGS…`` with a data and a record folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.data, self.out = folder / "data", folder / "records"
        self._capsys, self._monkeypatch = capsys, monkeypatch
        monkeypatch.setenv("BENCH_DATA", str(self.data))

    def __call__(self, *arguments: str) -> Done:
        if arguments[0] in ("run", "rate") and "--out" not in arguments:
            arguments = (*arguments, "--out", str(self.out))
        if arguments[0] == "run":  # as little beside the training as there can be, unless a test asks for more
            beside = [name for name in ("--ceiling-steps", "--rate-batches") if name not in arguments]
            arguments = (*arguments, *(word for name in beside for word in (name, "1")))
        self._monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        self._monkeypatch.delenv("BENCH_DEBUG", raising=False)
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        code = stopped.value.code
        return Done(code if isinstance(code, int) else 0, *self._capsys.readouterr())
