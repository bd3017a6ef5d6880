"""The verdict on the page cache follows the evidence."""

from __future__ import annotations

from typing import Any

import pytest

from bench.measure.cachestate import judge
from bench.records import CacheEvidence


def seen(**changes: Any) -> CacheEvidence:
    usual = {"method": "cachestat", "bytes": 10**8, "after_eviction": [], "before_epoch": [], "read_bytes": []}
    return CacheEvidence(**{**usual, **changes})


@pytest.mark.parametrize(
    ("wanted", "evidence", "state", "reason"),
    [
        ("cold", seen(after_eviction=[0.0, 0.0]), "cold", None),
        ("cold", seen(after_eviction=[0.0, 0.009], before_epoch=[0.3, 0.3]), "cold", None),
        ("cold", seen(after_eviction=[0.0, 0.5]), "unverified", "50.0% of the store stayed in memory"),
        ("cold", seen(after_eviction=[None]), "unverified", "does not tell"),
        ("cold", seen(after_eviction=[0.0, None]), "unverified", "does not tell"),
        ("warm", seen(before_epoch=[1.0, 1.0], read_bytes=[0, 10]), "warm", None),
        ("warm", seen(before_epoch=[1.0, 0.5]), "unverified", "only 50.0% of the store was in memory"),
        ("warm", seen(before_epoch=[1.0], read_bytes=[5_000_000]), "unverified", "5.0 MB were read from storage"),
        ("warm", seen(before_epoch=[1.0], read_bytes=[None]), "warm", None),
        ("warm", seen(before_epoch=[0.0]), "unverified", "only 0.0%"),
        ("as-is", seen(before_epoch=[1.0]), "warm", None),
        ("as-is", seen(before_epoch=[0.0]), "cold", None),
        ("as-is", seen(before_epoch=[0.0, 1.0]), "unverified", "only 0.0%"),
        ("warm", seen(), "unverified", "does not tell"),
    ],
)
def test_the_state_is_what_was_seen(wanted: str, evidence: CacheEvidence, state: str, reason: str | None) -> None:
    found, why = judge(wanted, evidence, elsewhere=False)
    assert found == state
    assert (why is None) == (reason is None)
    assert (reason or "") in (why or "")


@pytest.mark.parametrize("wanted", ["cold", "warm", "as-is"])
def test_what_lies_elsewhere_is_never_verified(wanted: str) -> None:
    evidence = seen(after_eviction=[0.0], before_epoch=[1.0])
    assert judge(wanted, evidence, elsewhere=True) == ("unverified", "the samples lie on a server outside the store")
