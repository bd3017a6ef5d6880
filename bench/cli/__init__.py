"""The command line: which commands there are, and how an error becomes one sentence and an exit code.

This package alone exits, and with `bench.progress` it alone prints.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer

from bench.cli import advice, data, gradients, inventory, reports, runs, sweeps
from bench.errors import BenchError, UsageError
from bench.progress import err

COMMANDS: tuple[Callable[..., None], ...] = (  # as `bench --help` lists them
    inventory.loaders,
    inventory.datasets,
    inventory.doctor,
    data.fetch,
    data.prepare,
    runs.run,
    runs.rate,
    advice.advise,
    reports.report,
    reports.compare,
    sweeps.sweep,
    sweeps.job,
    gradients.gradcheck,
)
HIDDEN = (sweeps.job,)

app = typer.Typer(
    help="Which storage format should feed my PyTorch image classifier, on my machine, and what does each cost?",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


_WRONG_WORDS = typer.BadParameter.__mro__[1]
"""Click's UsageError: of its kinds typer has names for this one alone."""


class _InterruptedError(Exception):
    """Ctrl-C or a polite kill; typer would end the program without a word."""


def _guarded(work: Callable[..., None]) -> Callable[..., None]:
    """The command, whose interruption `main` gets to see."""

    @functools.wraps(work)
    def guarded(*arguments: Any, **options: Any) -> None:
        try:
            work(*arguments, **options)
        except KeyboardInterrupt:
            raise _InterruptedError from None

    return guarded


for _work in COMMANDS:
    app.command(hidden=_work in HIDDEN)(_guarded(_work))


def main() -> None:
    """Entry point: turns errors into one sentence and an exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(standalone_mode=False)
    except _InterruptedError:
        _fail("interrupted; what was recorded and prepared before is kept", 130)
    except Exception as error:
        from loaders.errors import LoaderError, OptionError
        from loaders.registry import UnknownLoaderError

        if os.environ.get("BENCH_DEBUG"):
            traceback.print_exc()
        if isinstance(error, _WRONG_WORDS):
            _refuse(error)
        if isinstance(error, UsageError | OptionError | UnknownLoaderError):
            _fail(str(error), 2)
        if isinstance(error, BenchError | LoaderError):
            _fail(str(error), 1)
        _fail(f"{type(error).__name__}: {error}; this is a fault of the program, --debug shows where", 1)
    raise SystemExit(code)


def _refuse(error: Any) -> None:
    """Say what click says of wrong words as this program says it; to no words at all, the help."""
    if not sys.argv[1:]:
        error.show()
        raise SystemExit(error.exit_code)
    told = re.sub(r"^Invalid value for '(.+?)': (Value error, )?", r"\1: ", error.format_message()).rstrip(".")
    command = error.ctx.command_path if error.ctx else "bench"
    _fail(f"{told[:1].lower()}{told[1:]}; `{command} --help` shows what there is", error.exit_code)


def _fail(message: str, code: int) -> None:
    err.print(f"bench: {message}", markup=False)
    raise SystemExit(code)


def _terminate(number: int, frame: object) -> None:
    """A polite kill runs the same clean-up as Ctrl-C."""
    raise KeyboardInterrupt
