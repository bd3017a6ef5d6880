"""What commands print on standard output."""

from __future__ import annotations

import sys

from bench.progress import console
from bench.streams import OUT

out = console(OUT, soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 240)


def say(line: str) -> None:
    """Print a line as it is."""
    out.print(line)
