"""Thirty files of ``scripts/fuzz``, and that it notices a process that dies."""

from __future__ import annotations

import pytest

from tests import fuzz


def test_thirty_damaged_files() -> None:
    outcomes = dict(fuzz.trial(seed=7, first=0, count=30))
    assert sorted(outcomes) == list(range(30))
    assert [outcome for outcome in outcomes.values() if outcome.startswith("FAULT")] == []
    assert {"refused"} < set(outcomes.values())


def test_a_death_is_told_of_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "COMMAND", ["sh", "-c", "echo at 0; echo was refused; echo at 1; kill -ABRT $$", "sh"])
    outcomes = list(fuzz.trial(seed=7, first=0, count=1))
    assert outcomes[0] == (0, "refused")
    assert outcomes[1][1].startswith("FAULT the process ended with -6")
