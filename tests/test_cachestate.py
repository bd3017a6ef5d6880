"""The verdict on the page cache follows the evidence."""

from __future__ import annotations

from typing import Any

import pytest

from bench.measure.cache import judge
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
    found, why = judge(wanted, evidence)
    assert found == state
    assert (why is None) == (reason is None)
    assert (reason or "") in (why or "")


OUTSIDE = "the samples lie on a server outside the store"


@pytest.mark.parametrize(
    ("wanted", "read", "state", "reason"),
    [
        ("cold", [0, 0], "unverified", OUTSIDE),
        ("warm", [], "unverified", OUTSIDE),
        ("warm", [0, None], "unverified", OUTSIDE),
        ("warm", [0, 10**6], "warm", None),
        ("as-is", [0, 0], "warm", None),
        ("warm", [0, 10**6 + 1], "unverified", "the server outside the store had to read 1.0 MB in an epoch"),
    ],
)
def test_of_what_lies_elsewhere_only_the_server_can_tell(
    wanted: str, read: list[int | None], state: str, reason: str | None
) -> None:
    evidence = seen(after_eviction=[0.0], before_epoch=[1.0], elsewhere_read_bytes=read)
    assert judge(wanted, evidence, 10**8) == (state, reason)
