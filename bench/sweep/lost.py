"""Records of runs that could not leave their own: the loader is not available, or the process was lost."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import os
import platform
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.records import DatasetPart, LoaderPart, Record
from bench.sweep.child import Ended
from bench.sweep.plan import Run

_TAIL_BYTES = 32768
_TAIL_LINES = 60
_LINE = 300


def record_of(run: Run, status: str, error: str, environment: Mapping[str, Any], started_at: str) -> Record:
    """A record without measurements.

    Args:
        run: what was to be done.
        status: "failed" or "unavailable".
        error: why, fit for publication.
        environment: of the machine, as records have it.
        started_at: from when on it was tried.
    """
    nothing = ("store", "cache", "setup", "ceiling", "rates", "resources", "digest")
    wanted, config = run.cell.wanted, run.config
    options = run.config.options if wanted is None else wanted.options.public()
    return Record(
        run_id=config.run_id,
        status=status,
        error=error,
        config=config,
        dataset=_dataset(run),
        loader=LoaderPart(name=config.loader, options=options),
        environment={
            **environment,
            "device": config.device,
            "gpu": environment["gpu"] if config.device == "cuda" else None,
            "threads": config.threads or environment["threads"],
            "load_average": list(os.getloadavg()),
        },
        epochs=[],
        flags=[],
        started_at=started_at,
        finished_at=now(),
        **dict.fromkeys(nothing),
    )


def _dataset(run: Run) -> DatasetPart | None:
    """Which images it would have been about, so that it stands with its like in a table."""
    wanted = run.cell.wanted
    if wanted is None or wanted.source.missing():
        return None
    try:
        info, splits = wanted.dataset_info(), wanted.splits()
    except BenchError:  # damaged files are what the error is about
        return None
    return DatasetPart(
        name=info.name,
        official=info.official,
        synthetic=info.synthetic,
        limit=info.limit,
        classes=len(info.classes),
        train=len(splits["train"]),
        test=len(splits["test"]),
        shape=splits["train"].shape,
        fingerprint=info.fingerprint,
        resize=info.resize,
    )


def reason(ended: Ended, log: str, timeout_s: float) -> str:
    """Why a process left no record, in one sentence.

    Args:
        ended: how it ended.
        log: the end of what it printed, fit for publication.
        timeout_s: how long it might have taken.
    """
    if ended.timed_out:
        return f"timed out: ended after {timeout_s:g} s; raise timeout_s if it needs longer"
    if ended.out_of_memory:
        return "out of memory: the system killed it or a process of its; take fewer workers or a smaller --limit"
    if ended.code < 0:
        return f"killed by signal {-ended.code} ({signal.Signals(-ended.code).name})"
    said = [line.removeprefix("bench: ") for line in log.splitlines() if line.startswith("bench: ")]
    return said[-1] if said else f"ended with exit code {ended.code} and left no record"


def log_tail(path: Path, run: Run) -> str:
    """The last lines of a log as a record may show them: no folder of this machine, no user, host or secret."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return public_text("\n".join(line[:_LINE] for line in text.splitlines()[-_TAIL_LINES:]), run)


def public_text(text: str, run: Run) -> str:
    """Text without folders of this machine, and without what the loader's options keep to themselves."""
    from bench.run.draft import publishable  # its imports take seconds, which only a failure costs

    if run.cell.wanted is not None:
        text = publishable(text, run.cell.wanted)
    for name in _own_names():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    # Whatever absolute path is left keeps its last name alone.
    return re.sub(r"(?<![\w:/.~…-])/(?:[^\s/\"':,]+/)+", "…/", text)


def _own_names() -> set[str]:
    names = {platform.node()}
    with contextlib.suppress(KeyError, OSError):  # a user without a name
        names.add(getpass.getuser())
    return names - {"", "root", "localhost"}


def now() -> str:
    """This moment, as records have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
