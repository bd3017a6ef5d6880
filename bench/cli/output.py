"""What commands print on standard output."""

from __future__ import annotations

import sys
import textwrap

from bench.progress import console
from bench.streams import OUT

out = console(OUT, soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 240)


def say(line: str) -> None:
    """Print a line as it is."""
    out.print(line)


def entry(line: str, indent: int = 0, hang: int = 4) -> None:
    """Print a line of a list within the terminal's width, or 80 columns elsewhere; its rest hangs below it."""
    width = min(out.width, 100) if out.is_terminal else 80
    first, rest = " " * indent, " " * (indent + hang)
    wrapper = textwrap.TextWrapper(width, first, rest, break_long_words=False, break_on_hyphens=False)
    for part in wrapper.wrap(line):
        say(part)
