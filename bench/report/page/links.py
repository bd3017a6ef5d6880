"""Where a number on the page leads: to its record, or to the list of records that it comes from."""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench.records import Record
from bench.render.language import Text, joined
from bench.report.groups import Group


class Embedded(NamedTuple):
    """A record on the page: its HTML id, and what is shown of it; repetitions of a run share their label."""

    anchor: str
    run_id: str
    label: Text
    started: str
    status: str
    json: str


class Links:
    """Gives every record an anchor, and every set of records that a number comes from another.

    ``records`` are in the order of groups, cells and rounds, superseded ones last. ``sets`` are those that `target` was
    asked for, by the ids of their records: an HTML id, and them by label.
    """

    def __init__(self, records: Sequence[Record], made: Sequence[Group]) -> None:
        self.records: list[Embedded] = []
        self.sets: dict[tuple[str, ...], tuple[str, dict[Text, list[Embedded]]]] = {}
        self._by_run: dict[tuple[int, str], list[Embedded]] = {}
        self._taken: set[str] = set()
        for group in made:
            for cell, members in group.cells.items():
                label = joined((cell.label, cell.dataset, cell.model or "", cell.cache or ""), ", ")
                for record in members:
                    self._by_run.setdefault((group.number, record.run_id), []).append(self._embed(record, label))
        shown = Counter(embedded.json for embedded in self.records)
        for record in records:
            if shown[as_json(record)]:
                shown[as_json(record)] -= 1
            else:
                self._embed(record, f"{record.loader.name}, {record.config.dataset}")

    def target(self, group: int, runs: Iterable[str]) -> str | None:
        """The id that a number from these runs of a group leads to; None where none of them is known."""
        records = [record for run in dict.fromkeys(runs) for record in self._by_run.get((group, run), ())]
        if len(records) < 2:
            return records[0].anchor if records else None
        key = tuple(record.anchor for record in records)
        if key not in self.sets:
            parts: dict[Text, list[Embedded]] = {}
            for record in records:
                parts.setdefault(record.label, []).append(record)
            self.sets[key] = f"runs-{len(self.sets) + 1}", parts
        return self.sets[key][0]

    def _embed(self, record: Record, label: Text) -> Embedded:
        status = record.status if record.status == "ok" else f"{record.status}: {record.error or ''}"
        name = record.run_id
        if not re.fullmatch("[0-9a-f]{16}", name):  # no other element of the page has such a name
            name = f"record-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:16]}"
        names = itertools.chain([name], (f"{name}-{n}" for n in itertools.count(2)))
        anchor = next(anchor for anchor in names if anchor not in self._taken)
        self._taken.add(anchor)
        embedded = Embedded(anchor, record.run_id, label, minute(record.started_at), status, as_json(record))
        self.records.append(embedded)
        return embedded


def minute(time: str) -> str:
    """A record's time to the minute, in its own zone; as it is if it is none."""
    try:
        return datetime.datetime.fromisoformat(time).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return time


def as_json(record: Record) -> str:
    """The record as indented JSON; half of a surrogate pair, which JSON may hold and UTF-8 cannot, stays escaped."""
    whole = json.loads(json.dumps(record.model_dump(), default=str), parse_constant=str)  # "NaN", as in records
    text = json.dumps(whole, ensure_ascii=False, indent=1)
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)
