"""In what two environments are alike, and how a reader tells them apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bench.render.language import Joined, Message, Number, Text, joined, message

COMPARED = (
    *("cpu", "cores", "affinity", "ram_bytes", "governor", "virtual", "storage", "machine", "system", "kernel"),
    *("python", "packages", "device", "gpu"),
)
"""What two records must agree in to share a table. The harness's commit may differ, and is told."""

PACKAGES = ("torch", "torchvision", "numpy", "h5py", "psycopg", "simplejpeg", "pillow")
"""Packages whose versions every record has. A loader's own are not compared: other loaders' records lack them."""

Environment = dict[str, Any]


def machine_of(environment: Environment) -> Environment:
    """The values of `COMPARED`, without the versions of a loader's own packages."""
    packages = {name: version for name, version in part(environment, "packages").items() if name in PACKAGES}
    return {key: environment.get(key) for key in COMPARED} | {"packages": packages}


def compared(environment: Environment) -> Environment:
    """What must be equal: the machine. A virtual one's memory grows and shrinks while it runs, and is left out."""
    machine = machine_of(environment)
    if environment.get("virtual"):
        del machine["ram_bytes"]
    return machine


def key_of(environment: Environment) -> str:
    """The same for environments whose records may share a table, and for no others."""
    return json.dumps(compared(environment), sort_keys=True, default=str)


def describe(environments: Sequence[Environment]) -> list[Text]:
    """A title for each: the machine in one line, and, where two would be called the same, what tells them apart."""
    titles = [_machine(environment) for environment in environments]
    names = _leaves_that_differ(environments)
    return [
        title if titles.count(title) == 1 else Joined((title, f"({_values(environment, names)})"))
        for title, environment in zip(titles, environments, strict=True)
    ]


def differences(environments: Sequence[Environment]) -> Message | None:
    """A warning if these are not all the same."""
    different = list({key_of(environment): compared(environment) for environment in environments}.values())
    if len(different) < 2:
        return None
    names = _leaves_that_differ(different)
    listed = "; ".join(_values(environment, names) for environment in different)
    return message("{count} different environments are mixed here: {list}", count=len(different), list=listed)


def apart(ours: Environment, theirs: Environment) -> list[tuple[str, Any, Any]]:
    """What two environments differ in: its name, and each one's value."""
    a, b = _leaves(ours), _leaves(theirs)
    return [(name, a.get(name), b.get(name)) for name in _leaves_that_differ([ours, theirs])]


def part(environment: Environment, key: str) -> Environment:
    """One of an environment's inner tables; an empty one where it has none."""
    found = environment.get(key)
    return found if isinstance(found, dict) else {}


def _machine(environment: Environment) -> Text:
    gpu, packages, storage = (part(environment, key) for key in ("gpu", "packages", "storage"))
    ram, cores = environment.get("ram_bytes"), environment.get("cores")
    parts: list[Text] = [
        str(gpu.get("name") or ""),
        str(environment.get("cpu") or ""),
        message("{count} cores", count=str(cores)) if cores else "",
        message("{size} GB of RAM", size=Number(ram / 1e9, ".0f")) if isinstance(ram, int | float) else "",
        "/".join(str(part) for part in (storage.get("filesystem"), storage.get("device")) if part),
        f"torch {packages['torch']}" if packages.get("torch") else "",
    ]
    return joined(parts, ", ") or message("unknown machine")


def _leaves(environment: Environment) -> dict[str, Any]:
    """Every value, those of an inner table under names such as ``packages.torch``."""
    leaves: dict[str, Any] = {}
    for key, value in environment.items():
        leaves |= {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return leaves


def _leaves_that_differ(environments: Sequence[Environment]) -> list[str]:
    leaves = [_leaves(environment) for environment in environments]
    names = dict.fromkeys(name for leaf in leaves for name in leaf)
    return [name for name in names if len({json.dumps(leaf.get(name), default=str) for leaf in leaves}) > 1]


def _values(environment: Environment, names: Sequence[str]) -> str:
    leaves = _leaves(environment)
    return ", ".join(f"{name} {leaves.get(name)}" for name in names)
