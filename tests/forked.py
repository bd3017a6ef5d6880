"""Commands in a process forked from this one: a new interpreter imports PyTorch and the rest for ten seconds."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import torch

import bench.run.runner  # noqa: F401 - what commands import once they are at work
from bench.cli import main


class Forked(subprocess.Popen[Any]):
    """`subprocess.Popen` of ``python -m bench ARGS…``, for tests of what becomes of a process, not of how it starts."""

    def __init__(
        self, args: Sequence[str], *, env: Mapping[str, str] | None = None, pass_fds: Collection[int] = (), **how: Any
    ) -> None:
        assert args[:3] == [sys.executable, "-m", "bench"]

        def instead_of_exec() -> None:
            _become(args[2:], env, {0, 1, 2, *pass_fds})

        super().__init__(args, preexec_fn=instead_of_exec, pass_fds=pass_fds, **how)


ESCAPED = "surrogateescape"  # as Python has it where the locale is C.UTF-8
# A fork of a process that has used a CUDA device cannot use it.
Started: type[subprocess.Popen[Any]] = subprocess.Popen if torch.cuda.is_available() else Forked


@contextlib.contextmanager
def started(
    *arguments: object, start: type[subprocess.Popen[Any]] = Started, **how: Any
) -> Iterator[subprocess.Popen[Any]]:
    """``bench ARGS…`` in a process of its own that does not outlive the block, with its output piped unless told."""
    words = [sys.executable, "-m", "bench", *map(str, arguments)]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8", "errors": ESCAPED, **how}
    with start(words, **settings) as process:
        try:
            yield process
        finally:
            process.kill()


def _become(argv: Sequence[str], env: Mapping[str, str] | None, keep: Collection[int]) -> NoReturn:
    """Be as a new interpreter is that has imported the command line."""
    code = 1
    try:
        # Among the others is the pipe by which Popen waits for a new program to begin.
        for number in {int(name) for name in os.listdir("/proc/self/fd")} - set(keep):  # noqa: PTH208
            with contextlib.suppress(OSError):
                os.close(number)
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
            for number, mode, errors in ((0, "r", ESCAPED), (1, "w", ESCAPED), (2, "w", "backslashreplace"))
        )
        faulthandler.enable()
        warnings.resetwarnings()  # pytest makes errors of them; a new interpreter is silent about these
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        sys.argv = list(argv)
        main()
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 0
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
    finally:
        os._exit(code)
