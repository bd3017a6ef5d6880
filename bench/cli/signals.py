"""Ctrl-C and a polite kill: at once as long as a command only starts, with all clean-up once it works."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

SENTENCE = "interrupted; what was recorded and prepared before is kept"
INTERRUPTED = 130


class Interrupted(Exception):  # noqa: N818 - it is no error
    """One of them came while a command worked."""


class _State:
    came = False


def end_at_once() -> None:
    """From now on there is nothing to clean up. An exception would come out of a half-done import as anything."""
    _on_both(_end)


def end_by_exception() -> None:
    """From now on what has been begun must be cleaned up: `KeyboardInterrupt` is raised."""
    _State.came = False
    _on_both(_raise)


def came() -> bool:
    """Whether one came while a command worked: what that turned into meanwhile is no error."""
    return _State.came


def _on_both(act: Callable[[int, object], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as below nohup
            signal.signal(number, act)


def _end(number: int, frame: object) -> None:
    try:  # noqa: SIM105 - contextlib would be imported before Ctrl-C is ours
        os.write(2, f"bench: {SENTENCE}\n".encode())
    except OSError:  # nobody hears it
        pass
    os._exit(INTERRUPTED)


def _raise(number: int, frame: object) -> None:
    _State.came = True
    raise KeyboardInterrupt
