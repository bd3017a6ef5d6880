"""Ctrl-C and a polite kill: at once as long as a command only starts, with all clean-up once it works."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

SENTENCE = "interrupted; what was recorded and prepared before is kept"
INTERRUPTED = 130
_came = False


class Interrupted(Exception):  # noqa: N818 - it is no error
    """A signal came while a command worked."""


def end_at_once() -> None:
    """From now on a signal ends the program: there is nothing to clean up, and imports may swallow an exception."""
    _on_both(_end)


def end_by_exception() -> None:
    """From now on a signal raises `KeyboardInterrupt`, so that what has been begun is cleaned up."""
    global _came
    _came = False
    _on_both(_raise)


def came() -> bool:
    """Whether a signal came while a command worked: an exception that it turned into is no error."""
    return _came


def _on_both(act: Callable[[int, object], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as below nohup
            signal.signal(number, act)


def _end(number: int, frame: object) -> None:
    try:  # noqa: SIM105 - contextlib would be imported before Ctrl-C is ours
        os.write(2, f"bench: {SENTENCE}\n".encode())
    except OSError:  # nobody reads it
        pass
    os._exit(INTERRUPTED)


def _raise(number: int, frame: object) -> None:
    global _came
    _came = True
    raise KeyboardInterrupt
