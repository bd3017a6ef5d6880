"""What was measured and on what, as the records of one environment tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from bench.records import Record
from bench.report.groups import Group
from bench.report.page.links import minute
from bench.report.page.words import Words

Fact = tuple[str, str]


def facts(group: Group, words: Words) -> list[Fact]:
    """Terms and what to say of each; what no record tells is left out."""
    records = [record for members in group.cells.values() for record in members]
    machine = group.environment
    found = [
        ("processor", _listed([machine.get("cpu"), _cores(machine, words)])),
        ("memory", _gigabytes(machine.get("ram_bytes"))),
        ("gpu", _gpu(machine)),
        ("storage", _listed(_inner(machine, "storage").values())),
        ("system", _listed([machine.get("system"), machine.get("kernel"), _virtual(machine, words)])),
        ("software", _software(machine)),
        ("threads", _listed(_distinct(r.environment.get("threads") for r in records))),
        ("datasets", "; ".join(_distinct(_dataset(r, words) for r in records))),
        ("training", "; ".join(_distinct(_training(r, words) for r in records))),
        ("runs", _runs(records, words)),
        ("cache", _cache(records, words)),
        ("measured", _dates(records, words)),
        ("load", _load(records, words)),
        ("commit", "; ".join(_distinct(_commit(r, words) for r in records))),
    ]
    return [(words[f"fact_{name}"], text) for name, text in found if text]


def _distinct(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values if value not in (None, "")))


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(str(value) for value in values if value not in (None, ""))


def _inner(environment: dict[str, Any], key: str) -> dict[str, Any]:
    found = environment.get(key)
    return found if isinstance(found, dict) else {}


def _gigabytes(size: Any) -> str:
    return f"{size / 1e9:.1f} GB" if isinstance(size, int | float) else ""


def _cores(machine: dict[str, Any], words: Words) -> str:
    cores, used = machine.get("cores"), machine.get("affinity")
    if cores is None:
        return ""
    mine = len(used) if isinstance(used, list) else cores
    return words.fill("cores", cores=cores) if mine == cores else words.fill("cores_used", cores=cores, used=mine)


def _gpu(machine: dict[str, Any]) -> str:
    gpu = _inner(machine, "gpu")
    versions = [f"{name} {gpu[key]}" for name, key in _GPU_VERSIONS if gpu.get(key) is not None]
    return _listed([gpu.get("name"), _gigabytes(gpu.get("memory_bytes")), *versions])


_GPU_VERSIONS = (("driver", "driver"), ("CUDA", "cuda"), ("cuDNN", "cudnn"))


def _virtual(machine: dict[str, Any], words: Words) -> str:
    told = machine.get("virtual")
    return words["virtual" if told else "not_virtual"] if isinstance(told, bool) else ""


def _software(machine: dict[str, Any]) -> str:
    versions = {"Python": machine.get("python"), **_inner(machine, "packages")}
    return _listed(f"{name} {version}" for name, version in versions.items() if version is not None)


def _dataset(record: Record, words: Words) -> str:
    part = record.dataset
    if part is None:
        return ""
    kind = "synthetic" if part.synthetic else "official" if part.official else "not_official"
    values = {"name": part.name, "kind": words[kind], "train": part.train, "test": part.test, "classes": part.classes}
    shape = words["many_sizes"] if part.shape is None else " x ".join(str(extent) for extent in part.shape)
    return words.fill("dataset", **values, shape=shape)


def _training(record: Record, words: Words) -> str:
    config = record.config
    if config.command != "run":
        return ""
    return words.fill("training", model=config.model, epochs=config.epochs, batch=config.batch_size)


def _runs(records: Sequence[Record], words: Words) -> str:
    counts = Counter(record.status for record in records)
    parts = [words.fill(f"runs_{status}", count=counts[status]) for status in counts]
    rounds = {(record.config.seed, record.config.repeat) for record in records}
    return ", ".join([*parts, words.fill("rounds", count=len(rounds))])


def _cache(records: Iterable[Record], words: Words) -> str:
    """How many runs wished a state of the page cache, and how many of them could show it."""
    wished: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    for record in records:
        if record.cache is not None:
            wished[record.cache.wanted] += 1
            shown[record.cache.wanted] += record.cache.state == record.cache.wanted
    return "; ".join(words.fill("cache", state=s, shown=shown[s], wished=wished[s]) for s in wished)


def _dates(records: Iterable[Record], words: Words) -> str:
    times = [*(r.started_at for r in records), *(r.finished_at for r in records)]
    return words.fill("dates", first=minute(min(times)), last=minute(max(times)))


def _load(records: Iterable[Record], words: Words) -> str:
    """Of the minute before each run: what else the machine did."""
    loads = [load[0] for r in records if isinstance(load := r.environment.get("load_average"), list) and load]
    numbers = sorted(load for load in loads if isinstance(load, int | float))
    return words.fill("load", low=f"{numbers[0]:.2f}", high=f"{numbers[-1]:.2f}") if numbers else ""


def _commit(record: Record, words: Words) -> str:
    git = _inner(record.environment, "git")
    if not git.get("commit"):
        return ""
    commit, clean = str(git["commit"])[:12], git.get("clean")
    return f"{commit} ({words['clean' if clean else 'changed']})" if isinstance(clean, bool) else commit
