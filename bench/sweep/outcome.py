"""What becomes of a run: a record in any case, also of one whose loader is unavailable or whose process was lost."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import os
import platform
import re
import signal
from pathlib import Path
from typing import Any, Literal

from bench.errors import BenchError
from bench.records import LoaderPart, Record
from bench.run.draft import described, publishable
from bench.sweep.plan import Run
from bench.sweep.process import Ended

Status = Literal["failed", "unavailable"]
_TAIL_BYTES, _TAIL_LINES, _LINE = 32768, 60, 300


def judged(
    run: Run, own: Record | None, ended: Ended, log: str, timeout_s: float, environment: dict[str, Any], started_at: str
) -> Record:
    """The record of a run whose process has ended: its own, with what is known since, or, without one, an empty one."""
    if own is None:
        return empty_record(run, "failed", reason(ended, log, timeout_s), environment, started_at, log)
    error, flags = own.error, list(own.flags)
    if own.status == "failed" and ended.out_of_memory:
        error = f"{error}; meanwhile the system killed a process for lack of memory"
    if not ended.gone:
        flags.append("a process that the run had started was still there half a minute after it")
    if own.status == "ok" and ended.code:
        flags.append(f"its process did not end well: {reason(ended, '', timeout_s)}")
    return own.model_copy(update={"error": error, "flags": flags, "log": log if own.status == "failed" else None})


def empty_record(
    run: Run, status: Status, error: str, environment: dict[str, Any], started_at: str, log: str | None = None
) -> Record:
    """A record without measurements; ``error`` and ``log`` must be fit for publication."""
    spec, config, dataset = run.spec, run.config, None
    if spec is not None and not spec.source.missing():
        with contextlib.suppress(BenchError):  # damaged files are what the error is about
            info, splits = spec.dataset_info(), spec.splits()
            counts = {name: len(split) for name, split in splits.items()}
            dataset = described(info, counts, splits["train"].shape)
    unknown: dict[str, Any] = dict.fromkeys(("store", "cache", "setup", "ceiling", "rates", "resources", "digest"))
    return Record(
        run_id=config.run_id,
        status=status,
        error=error,
        config=config,
        dataset=dataset,  # so that it shares a table with the other runs on these images
        loader=LoaderPart(name=config.loader, options=config.options if spec is None else spec.options.public()),
        environment={
            **environment,
            "device": config.device,
            "gpu": environment["gpu"] if config.device == "cuda" else None,
            "threads": config.threads or environment["threads"],
            "load_average": list(os.getloadavg()),
        },
        **unknown,
        epochs=[],
        flags=[],
        log=log,
        started_at=started_at,
        finished_at=now(),
    )


def reason(ended: Ended, log: str, timeout_s: float) -> str:
    """Why a process has left no result, in one sentence, by how it ended and the end of its log."""
    if ended.timed_out:
        return f"timed out: ended after {timeout_s:g} s; raise timeout_s if it needs longer"
    if ended.out_of_memory:
        return "out of memory: the system killed it or a process of its; take fewer workers or a smaller --limit"
    if ended.code < 0:
        return f"killed by signal {-ended.code} ({signal.Signals(-ended.code).name})"
    sentences = [line.removeprefix("bench: ") for line in log.splitlines() if line.startswith("bench: ")]
    return sentences[-1] if sentences else f"ended with exit code {ended.code} and left no record"


def log_tail(path: Path, run: Run) -> str:
    """The last lines of a log, empty if there is none, as a record may show them; see `public_text`."""
    text = ""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return public_text("\n".join(line[:_LINE] for line in text.splitlines()[-_TAIL_LINES:]), run)


def public_text(text: str, run: Run) -> str:
    """Text without folders of this machine, its user and host, and without the loader's secret options."""
    if run.spec is not None:
        text = publishable(text, run.spec)
    names = {platform.node()}
    with contextlib.suppress(KeyError, OSError):  # a user without a name
        names.add(getpass.getuser())
    for name in names - {"", "root", "localhost"}:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    # Whatever absolute path is left keeps its last name alone.
    return re.sub(r"(?<![\w:/.~…-])/(?:[^\s/\"':,]+/)+", "…/", text)


def now() -> str:
    """This moment, as records have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
