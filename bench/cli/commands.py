"""Which commands there are."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from typing import Any

import typer

from bench.cli import advice, data, gradients, inventory, profiles, reports, runs, signals, sweeps
from bench.errors import UsageError

app = typer.Typer(
    help="Which storage format should feed my PyTorch image classifier, on my machine, and what does each cost?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _guarded(work: Callable[..., None]) -> Callable[..., None]:
    """The command, whose interruption `main` gets to see; typer would end the program without a word."""

    @functools.wraps(work)
    def guarded(*arguments: Any, **options: Any) -> None:
        try:
            work(*arguments, **options)
        except KeyboardInterrupt:
            raise signals.Interrupted from None
        except Exception as error:
            if signals.came():  # within an import, it may come out as another exception
                raise signals.Interrupted from error
            raise
        finally:
            signals.end_at_once()

    return guarded


for _work in (  # as `bench --help` lists them
    *(inventory.loaders, inventory.datasets, inventory.doctor, data.fetch, data.prepare, runs.run, runs.rate),
    *(profiles.profile, advice.advise, reports.report, reports.compare, sweeps.sweep, sweeps.job, gradients.gradcheck),
):
    app.command(hidden=_work is sweeps.job)(_guarded(_work))

_WRONG_WORDS: type[Any] = typer.BadParameter.__mro__[1]
"""Click's UsageError: of its kinds typer has names for this one alone."""


def obey() -> int:
    """Do what the command line says; gives the exit code. Words that no command has are a `UsageError` in our style."""
    try:
        return app(standalone_mode=False) or 0
    except _WRONG_WORDS as error:
        if not sys.argv[1:]:  # the help
            error.show()
            return int(error.exit_code)
        text = re.sub(r"^Invalid value for '(.+?)': (Value error, )?", r"\1: ", error.format_message()).rstrip(".")
        command = error.ctx.command_path if error.ctx else "bench"
        raise UsageError(f"{text[:1].lower()}{text[1:]}; `{command} --help` shows what there is") from None
