"""The audit: every form of an entry before its referees, and the verdict on each."""

from __future__ import annotations

import contextlib
import dataclasses
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from bench.gradients.entry import Array, Arrays, Case, Entry, Verdict, Written
from bench.gradients.referees import autograd, differences_error, relative_error

TOLERANCE = 1e-10  # largest relative error against autograd in float64
DIFFERENCES_TOLERANCE = 1e-6  # largest relative error against central differences
FLOAT32_TOLERANCE = 1e-4  # largest relative error against autograd where both sides compute in float32

CORRECTED = "corrected"


@dataclasses.dataclass(frozen=True)
class Check:
    """One gradient of one form in one case, with its relative errors; ``None`` where a referee does not apply."""

    entry: str
    form: str
    case: str
    kind: str
    gradient: str
    autograd: float
    differences: float | None
    float32: float | None


@dataclasses.dataclass(frozen=True)
class Finding:
    """The verdict on one form of an entry, ``None`` for the corrected one, with the worst relative errors.

    ``wrong`` names the gradients that disagree ("value" if the function itself does); ``faults`` are sentences that say
    what is not as it should be.
    """

    entry: Entry
    written: Written | None
    verdict: Verdict
    autograd: float
    differences: float
    float32: float
    cases: int
    wrong: tuple[str, ...]
    faults: tuple[str, ...]
    checks: tuple[Check, ...]


def seed_of(entry: Entry) -> int:
    """The seed of an entry's cases: from its id, so that another entry changes nothing."""
    return zlib.crc32(entry.id.encode())


def cases_of(entry: Entry) -> list[tuple[Case, Array]]:
    """The entry's cases, each with a random upstream gradient of the output's shape."""
    rng = np.random.default_rng(seed_of(entry))
    return [(case, rng.standard_normal(np.shape(entry.forward(case.inputs)))) for case in entry.cases(rng)]


def judge(entry: Entry, device: torch.device) -> list[Finding]:
    """The findings on one entry, the corrected form's first."""
    cases = cases_of(entry)
    return [_finding(entry, written, cases, device) for written in (None, *entry.written)]


def _finding(entry: Entry, written: Written | None, cases: list[tuple[Case, Array]], device: torch.device) -> Finding:
    form = written or Written(CORRECTED, entry.corrected_latex, entry.corrected)
    label = f"{entry.id} ({written.name})" if written else entry.id
    taken = [(case, g) for case, g in cases if form.applies is None or form.applies(case)]
    # A written form may divide by zero or overflow, which is what the audit looks for; the corrected one must not.
    with np.errstate(all="ignore") if written else contextlib.nullcontext():
        checks = [check for case, g in taken for check in _checks(entry, form, case, g, device)]
    faults = [] if taken else [f"{label}: there are no cases"]
    if form.overflows:
        if not any(check.kind == "extreme" and np.isinf(check.autograd) for check in checks):
            faults.append(f"{label}: it is said to overflow, and does not")
        checks = [check for check in checks if check.kind != "extreme"]
    wrong = _wrong(checks)
    verdict = Verdict.WRONG if wrong else Verdict.AGREES
    if written is None:
        faults += [f"{label}: the corrected gradient of {name} is wrong" for name in wrong]
        for name in entry.wrt:
            if not any(np.any(entry.corrected(case.inputs, g)[name]) for case, g in cases):
                faults.append(f"{label}: the gradient of {name} is zero in every case, so it is not checked")
    else:
        if wrong and not _wrong(check for check in checks if check.kind != "kink"):
            verdict = Verdict.CONVENTION
        if verdict is not form.expected:
            faults.append(f"{label}: the verdict is {verdict.value!r}, expected was {form.expected.value!r}")
    return Finding(
        entry=entry,
        written=written,
        verdict=verdict,
        autograd=_worst(check.autograd for check in checks),
        differences=_worst(check.differences for check in checks),
        float32=_worst(check.float32 for check in checks),
        cases=len(taken),
        wrong=wrong,
        faults=tuple(faults),
        checks=tuple(checks),
    )


def _worst(errors: Iterable[float | None]) -> float:
    return max((error for error in errors if error is not None), default=float("nan"))


def _wrong(checks: Iterable[Check]) -> tuple[str, ...]:
    """The gradients that are beyond a tolerance in some case, in order of appearance."""
    names = [
        check.gradient
        for check in checks
        if check.autograd > TOLERANCE
        or (check.differences is not None and check.differences > DIFFERENCES_TOLERANCE)
        or (check.float32 is not None and check.float32 > FLOAT32_TOLERANCE)
    ]
    return tuple(dict.fromkeys(names))


def _checks(entry: Entry, form: Written, case: Case, g: Array, device: torch.device) -> Iterator[Check]:
    errors = _errors(entry, form, case.inputs, g, device)
    small = {k: v.astype(np.float32) if np.issubdtype(v.dtype, np.floating) else v for k, v in case.inputs.items()}
    single = _errors(entry, form, small, g.astype(np.float32), device)
    numeric: dict[str, float] = {}
    if case.kind == "regular":
        rng = np.random.default_rng(seed_of(entry))
        numeric = differences_error(entry.forward, case.inputs, g, form.gradient(case.inputs, g), rng)
    for name, error in errors.items():
        yield Check(entry.id, form.name, case.name, case.kind, name, error, numeric.get(name), single[name])


def _errors(entry: Entry, form: Written, inputs: Arrays, g: Array, device: torch.device) -> dict[str, float]:
    value, theirs = autograd(entry, inputs, g, device)
    ours = form.gradient(inputs, g)
    unknown = ours.keys() - theirs.keys()
    if unknown or not ours or (form.name == CORRECTED and ours.keys() != theirs.keys()):
        raise ValueError(f"{entry.id} ({form.name}) gives the gradients {sorted(ours)}, autograd {sorted(theirs)}")
    return {
        "value": relative_error((form.forward or entry.forward)(inputs), value),
        **{name: relative_error(gradient, theirs[name]) for name, gradient in ours.items()},
    }
