"""All that one run of the gradient audit found, and how to make it."""

from __future__ import annotations

import contextlib
import dataclasses
import platform
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from bench.errors import BenchError
from bench.gradients.audit import Finding, judge
from bench.gradients.catalogue import ENTRIES
from bench.gradients.claims import Claim, claims
from bench.gradients.entry import Verdict
from bench.gradients.models import TRAINABLES, variable_oop
from bench.gradients.mutants import Mutant, mutants
from bench.gradients.parity import Parity, train
from bench.measure.environment import cpu_model

Progress = Callable[[str], None]  # called with what is being done, one short line at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an audit found on every form of every entry, on every trained model, and on the notes' claims.

    ``made_with`` are the versions and the device, in one line. Only ``seconds`` differs in a second run.
    """

    findings: tuple[Finding, ...]
    parities: tuple[Parity, ...]
    claims: tuple[Claim, ...]
    made_with: str
    seconds: float

    @property
    def faults(self) -> tuple[str, ...]:
        """One sentence for each thing that is not as it should be, with the name of what it is about."""
        return (
            *(fault for finding in self.findings for fault in finding.faults),
            *(fault for parity in self.parities for fault in parity.faults),
            *(
                f"{claim.id}: the verdict is {claim.verdict!r}, expected was {claim.expected!r}"
                for claim in self.claims
                if claim.verdict != claim.expected
            ),
        )

    @property
    def corrected(self) -> dict[str, Finding]:
        """The findings on the corrected forms, by the entries' ids."""
        return {finding.entry.id: finding for finding in self.findings if finding.written is None}

    @property
    def summary(self) -> str:
        """The counts, in one line."""
        written = [finding for finding in self.findings if finding.written is not None]
        count = {verdict: sum(finding.verdict is verdict for finding in written) for verdict in Verdict}
        right = sum(finding.verdict is Verdict.AGREES for finding in self.corrected.values())
        return (
            f"{len(self.corrected)} entries, {right} corrected gradients agree; {len(written)} written forms: "
            f"{count[Verdict.AGREES]} agree, {count[Verdict.WRONG]} wrong, {count[Verdict.CONVENTION]} differ by "
            f"convention at a kink; {len(self.parities)} models trained twice; {len(self.claims)} claims; "
            + (f"{len(self.faults)} not as expected" if self.faults else "all as expected")
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planting:
    """What became of the planted faults, and the seconds that it took."""

    mutants: tuple[Mutant, ...]
    seconds: float

    @property
    def faults(self) -> tuple[str, ...]:
        """One sentence for each planted fault that was not noticed."""
        return tuple(str(mutant) for mutant in self.mutants if not mutant.caught)

    @property
    def summary(self) -> str:
        """The counts, in one line."""
        planted, entries = len(self.mutants), len({mutant.entry for mutant in self.mutants})
        return f"{planted - len(self.faults)} of {planted} planted faults caught, in {entries} entries"


def run(device: torch.device, california: bool, progress: Progress) -> Outcome:
    """Audit every entry, train every model twice, and check every claim, with PyTorch on ``device``.

    Raises:
        BenchError: the code of an entry or a model raised, which is named; or the data could not be fetched.
    """
    started = time.perf_counter()
    findings: list[Finding] = []
    parities: list[Parity] = []
    trainables = TRAINABLES
    if california:
        progress("California housing")
        trainables = (*TRAINABLES, variable_oop.california())
        trainables[-1].data()  # data that cannot be fetched end the run at its start
    with _plain_arithmetic():
        for entry in ENTRIES:
            with _named(entry.id, f"audit of {entry.id}", progress):
                findings += judge(entry, device)
        for trainable in trainables:
            with _named(trainable.entry.id, f"training of {trainable.entry.id}", progress):
                parities.append(train(trainable, device))
        progress("claims")
        checked = tuple(claims())
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model()
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, PyTorch {torch.__version__}"
    return Outcome(
        findings=tuple(findings),
        parities=tuple(parities),
        claims=checked,
        made_with=f"{versions}, device {device.type} ({name})",
        seconds=time.perf_counter() - started,
    )


def plant(progress: Progress) -> Planting:
    """Plant every fault into every entry, one at a time; ``BenchError`` if an entry is wrong with nothing planted."""
    started = time.perf_counter()
    planted: list[Mutant] = []
    with _plain_arithmetic():
        for entry in ENTRIES:
            with _named(entry.id, f"faults planted into {entry.id}", progress):
                planted += mutants(entry)
    return Planting(mutants=tuple(planted), seconds=time.perf_counter() - started)


@contextlib.contextmanager
def _plain_arithmetic() -> Iterator[None]:
    """PyTorch in one thread, since handing out work so small takes longer than doing it; float32 in full precision."""
    threads, tf32 = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = tf32


@contextlib.contextmanager
def _named(what: str, doing: str, progress: Progress) -> Iterator[None]:
    """Whatever is raised within becomes an error of ``what``, which the message of NumPy or PyTorch does not name."""
    progress(doing)
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        message = str(error).removeprefix(f"{what}: ")
        raise BenchError(f"{what}: {type(error).__name__}: {message}; --debug shows where") from error
