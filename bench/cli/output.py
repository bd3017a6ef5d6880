"""What commands print on standard output."""

from __future__ import annotations

import sys

from rich.console import Console

out = Console(soft_wrap=not sys.stdout.isatty(), highlight=False, width=None if sys.stdout.isatty() else 240)


def say(line: str) -> None:
    """Print a line as it is."""
    out.print(line, markup=False)
