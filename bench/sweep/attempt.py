"""One run in a process of its own, which leaves one record whatever becomes of the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bench.records import Record, write_record
from bench.sweep import lost
from bench.sweep.child import Ended, run_task
from bench.sweep.folder import Folder
from bench.sweep.job import RunTask
from bench.sweep.plan import Folders, Run


def attempt(
    run: Run, folder: Folder, folders: Folders, environment: Mapping[str, Any], timeout_s: float
) -> tuple[Record, Ended]:
    """Do a run.

    Args:
        run: what to do.
        folder: gets its record and its log.
        folders: where data and stores lie.
        environment: of the machine, for the record of a run that is lost.
        timeout_s: how long it may take.

    Returns:
        The record, which has been written, and how the process ended.

    Raises:
        BenchError: the record cannot be written.
    """
    config = run.config
    path, log = folder.record(config.run_id), folder.log(config.run_id)
    path.unlink(missing_ok=True)  # of a failed attempt, or no record at all
    started_at = lost.now()
    task = RunTask(
        config=config,
        dataset=run.cell.dataset,
        options=run.cell.given,
        data=folders.data,
        stores=folders.stores,
        out=folder.path,
    )
    ended = run_task(task, log, folder.hold, timeout_s)
    try:
        record = Record.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        tail = lost.log_tail(log, run)
        reason = lost.reason(ended, tail, timeout_s)
        record = lost.record_of(run, "failed", reason, environment, started_at).model_copy(update={"log": tail})
        write_record(record, folder.path)
        return record, ended
    changed = _with_log(record, lost.log_tail(log, run), ended) if record.status == "failed" else record
    if not ended.gone:
        changed = _flagged(changed, "a process that the run had started was still there half a minute after it")
    if record.status == "ok" and ended.code:
        changed = _flagged(changed, f"its process did not end well: {lost.reason(ended, '', timeout_s)}")
    if changed is not record:
        write_record(changed, folder.path)
    return changed, ended


def _with_log(record: Record, tail: str, ended: Ended) -> Record:
    reason = record.error
    if ended.out_of_memory:
        reason = f"{reason}; meanwhile the system killed a process for lack of memory"
    return record.model_copy(update={"log": tail, "error": reason})


def _flagged(record: Record, flag: str) -> Record:
    return record.model_copy(update={"flags": [*record.flags, flag]})
