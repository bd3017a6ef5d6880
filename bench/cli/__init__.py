"""The command line: how it starts, and how an error becomes one sentence and an exit code.

This package alone exits, and with `bench.progress` it alone prints. It imports next to nothing before `main` runs:
until then, Ctrl-C is Python's.
"""

from __future__ import annotations

import os
import sys

from bench.cli import signals


def main() -> None:
    """Entry point: turns errors into one sentence and an exit code."""
    signals.end_at_once()

    from bench import streams

    streams.make_usable()
    code = _code()
    for stream in (streams.OUT, streams.ERR):
        stream.flush()
    # A reader that has left wants no more; to have written nothing onto a full disk is a failure.
    if (lost := streams.OUT.error) is not None and not isinstance(lost, BrokenPipeError):
        _tell(f"cannot write to standard output: {lost.strerror}; send it elsewhere")
        code = code or 1
    raise SystemExit(code)


def _code() -> int:
    """Run the command; of an error the user has been told."""
    from bench import errors, sentences, streams

    try:
        from bench.cli import commands

        return commands.obey()
    except signals.Interrupted:
        _tell(signals.SENTENCE)
        return signals.INTERRUPTED
    except Exception as error:
        import traceback

        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        package = str(frames[-1].f_globals.get("__name__", "")).partition(".")[0]
        if isinstance(error, OSError) and package == "typer":  # which writes help and nothing else
            streams.OUT.error = error
            return 1
        if os.environ.get("BENCH_DEBUG"):
            traceback.print_exc(file=streams.ERR)
        unknown = f"{type(error).__name__}: {error}; this is a fault of the program, --debug shows where"
        _tell(sentences.ran_out(error) or (str(error) if sentences.is_own(error) else unknown))
        usage: tuple[type[Exception], ...] = (errors.UsageError,)
        if "loaders.registry" in sys.modules:  # else it is none of theirs, and to import them takes PyTorch
            from loaders import OptionError, UnknownLoaderError

            usage += (OptionError, UnknownLoaderError)
        return 2 if isinstance(error, usage) else 1


def _tell(message: str) -> None:
    from bench import streams

    streams.ERR.write(f"bench: {message}\n")
    streams.ERR.flush()
