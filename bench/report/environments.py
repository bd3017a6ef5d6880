"""In what two environments are alike, and how a reader tells them apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bench.render.language import Note, say
from bench.render.table import Language

COMPARED = (
    *("cpu", "cores", "affinity", "ram_bytes", "governor", "virtual", "storage", "machine", "system", "kernel"),
    *("python", "packages", "device", "gpu"),
)
"""What two records must agree in to share a table. The harness's commit may differ, and is told."""

Environment = dict[str, Any]


def compared(environment: Environment) -> Environment:
    """What must be equal: the machine. A virtual one's memory grows and shrinks while it runs, and is left out."""
    return {key: environment.get(key) for key in COMPARED if key != "ram_bytes" or not environment.get("virtual")}


def describe(environments: Sequence[Environment], language: Language = "en") -> list[str]:
    """A title for each: the machine in one line, and, where two would be called the same, what tells them apart."""
    titles = [_machine(environment, language) for environment in environments]
    apart = _leaves_that_differ(environments)
    return [
        title if titles.count(title) == 1 else f"{title} ({_values(environment, apart)})"
        for title, environment in zip(titles, environments, strict=True)
    ]


def differences(environments: Sequence[Environment]) -> Note | None:
    """A warning if these are not all the same."""
    different = {json.dumps(e, sort_keys=True, default=str): e for e in environments}
    if len(different) < 2:
        return None
    apart = _leaves_that_differ(list(different.values()))
    listed = "; ".join(_values(environment, apart) for environment in different.values())
    return "{count} different environments are mixed here: {list}", {"count": len(different), "list": listed}


def apart(ours: Environment, theirs: Environment) -> list[tuple[str, Any, Any]]:
    """What two environments differ in: its name, and each one's value."""
    a, b = _leaves(ours), _leaves(theirs)
    return [(name, a.get(name), b.get(name)) for name in _leaves_that_differ([ours, theirs])]


def _machine(environment: Environment, language: Language) -> str:
    """What a person would call it."""
    gpu, packages, storage = (_part(environment, key) for key in ("gpu", "packages", "storage"))
    ram, cores = environment.get("ram_bytes"), environment.get("cores")
    parts = [
        gpu.get("name"),
        environment.get("cpu"),
        say("{count} cores", language, count=cores) if cores else None,
        say("{size} GB of RAM", language, size=f"{ram / 1e9:.0f}") if isinstance(ram, int | float) else None,
        "/".join(str(part) for part in (storage.get("filesystem"), storage.get("device")) if part),
        f"torch {packages['torch']}" if packages.get("torch") else None,
    ]
    return ", ".join(str(part) for part in parts if part) or say("unknown machine", language)


def _part(environment: Environment, key: str) -> Environment:
    found = environment.get(key)
    return found if isinstance(found, dict) else {}


def _leaves(environment: Environment) -> dict[str, Any]:
    """Every value, those of an inner table under names such as ``packages.torch``."""
    found: dict[str, Any] = {}
    for key, value in environment.items():
        if isinstance(value, dict):
            found |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            found[key] = value
    return found


def _leaves_that_differ(environments: Sequence[Environment]) -> list[str]:
    leaves = [_leaves(environment) for environment in environments]
    names = dict.fromkeys(name for part in leaves for name in part)
    return [name for name in names if len({json.dumps(p.get(name), default=str) for p in leaves}) > 1]


def _values(environment: Environment, names: Sequence[str]) -> str:
    leaves = _leaves(environment)
    return ", ".join(f"{name} {leaves.get(name)}" for name in names)
