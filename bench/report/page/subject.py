"""What was measured and on what, as the records of one environment tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.config import RunConfig
from bench.environments import part
from bench.records import Record
from bench.render.language import Joined, Message, Number, Text, joined, message
from bench.report.groups import Group
from bench.report.page.links import minute


def facts(group: Group) -> list[tuple[Text, Text]]:
    """Terms and what to say of each; what no record tells is left out."""
    records = [record for members in group.cells.values() for record in members]
    machine, gpu = group.environment, part(group.environment, "gpu")
    packages = {name: version for r in records for name, version in part(r.environment, "packages").items()}
    drivers = _versions({name: gpu.get(name.lower()) for name in ("driver", "CUDA", "cuDNN")})
    kinds: dict[Any, Text] = {True: message("virtual machine"), False: message("no virtual machine")}
    times = sorted(time for record in records for time in (record.started_at, record.finished_at))
    terms: list[tuple[Text, Text]] = [
        (message("Processor"), _listed(machine.get("cpu"), _cores(machine))),
        (message("Memory"), _gigabytes(machine.get("ram_bytes"))),
        (message("Accelerator"), _listed(gpu.get("name"), _gigabytes(gpu.get("memory_bytes")), drivers)),
        (message("Storage"), _listed(*part(machine, "storage").values())),
        (message("System"), _listed(machine.get("system"), machine.get("kernel"), kinds.get(machine.get("virtual")))),
        (message("Software"), _versions({"Python": machine.get("python"), **packages, **part(machine, "packages")})),
        (message("Threads of PyTorch"), _listed(*dict.fromkeys(r.environment.get("threads") for r in records))),
        (message("Datasets"), _distinct(map(_dataset, records))),
        (message("Training"), _distinct(map(_training, records))),
        (message("Runs"), _runs(records)),
        (message("Page cache"), _cache(records)),
        (message("Measured"), message("{first} to {last}", first=minute(times[0]), last=minute(times[-1]))),
        (message("Load average before runs"), _load(records)),
        (message("Commit of the harness"), _distinct(map(_commit, records))),
    ]
    return [(term, text) for term, text in terms if text]


def _listed(*values: Any) -> Text:
    """What there is of these, with commas."""
    known = (value for value in values if value not in (None, ""))
    return joined((value if isinstance(value, Message | Joined) else str(value) for value in known), ", ")


def _distinct(texts: Iterable[Text]) -> Text:
    return joined(dict.fromkeys(texts), "; ")


def _gigabytes(size: Any) -> Text:
    return joined((Number(size / 1e9, ".1f"), "GB")) if isinstance(size, int | float) else ""


def _cores(machine: Mapping[str, Any]) -> Text:
    cores, used = machine.get("cores"), machine.get("affinity")
    if cores is None:
        return ""
    if not isinstance(used, list) or len(used) == cores:
        return message("{cores} cores", cores=cores)
    return message("{cores} cores, of which {used} used", cores=cores, used=len(used))


def _versions(versions: Mapping[str, Any]) -> Text:
    return _listed(*(f"{name} {version}" for name, version in versions.items() if version is not None))


def _dataset(record: Record) -> Text:
    dataset = record.dataset
    if dataset is None:
        return ""
    kind = message("official files") if dataset.official else message("not the official files")
    kind = message("synthetic twin") if dataset.synthetic else kind
    shape = message("many sizes") if dataset.shape is None else " x ".join(map(str, dataset.shape))
    counts = {name: Number(getattr(dataset, name), ",d") for name in ("train", "test", "classes")}
    return message(
        "{name} ({kind}): {train} training and {test} test images of {shape}, {classes} classes",
        name=dataset.name,
        kind=kind,
        shape=shape,
        **counts,
    )


def _training(record: Record) -> Text:
    config = record.config
    if not isinstance(config, RunConfig):
        return ""
    epochs, batch = Number(config.epochs, ",d"), Number(config.batch_size, ",d")
    if config.model is None:
        return message("no network, {epochs} epochs, batches of {batch}", epochs=epochs, batch=batch)
    return message("{model}, {epochs} epochs, batches of {batch}", model=config.model, epochs=epochs, batch=batch)


def _runs(records: Sequence[Record]) -> Text:
    count = {status: Number(number, ",d") for status, number in Counter(r.status for r in records).items()}
    rounds = {(record.config.seed, record.config.repeat) for record in records}
    parts = [
        message("{count} ended well", count=count["ok"]) if "ok" in count else "",
        message("{count} could not run here", count=count["unavailable"]) if "unavailable" in count else "",
        message("{count} failed", count=count["failed"]) if "failed" in count else "",
        message("{count} rounds", count=len(rounds)),
    ]
    return joined(parts, ", ")


def _cache(records: Sequence[Record]) -> Text:
    """How many runs wished a state of the page cache, and how many of them could show it."""
    wished = Counter(str(record.cache.wanted) for record in records if record.cache)
    shown = Counter(str(r.cache.wanted) for r in records if r.cache and r.cache.state == r.cache.wanted)
    texts = (
        message("{state}: shown for {shown} of {wished} runs", state=state, shown=shown[state], wished=count)
        for state, count in wished.items()
    )
    return joined(texts, "; ")


def _load(records: Iterable[Record]) -> Text:
    """Of the minute before each run: what else the machine did."""
    loads = [load[0] for r in records if isinstance(load := r.environment.get("load_average"), list) and load]
    numbers = sorted(load for load in loads if isinstance(load, int | float))
    if not numbers:
        return ""
    return message("{low} to {high}", low=Number(numbers[0], ".2f"), high=Number(numbers[-1], ".2f"))


def _commit(record: Record) -> Text:
    git = part(record.environment, "git")
    if not git.get("commit"):
        return ""
    commit, clean = str(git["commit"])[:12], git.get("clean")
    if not isinstance(clean, bool):
        return commit
    state = message("clean tree") if clean else message("tree with uncommitted changes")
    return joined((commit, joined(("(", state, ")"), "")))
