r"""Lists the packages that the project needs and this Python lacks, wheels that provide them, and what to carry.

Usage: ``missing.py`` prints names, ``missing.py DIR`` paths of wheels; nothing but Python itself is needed for these.
``missing.py --carry``, where the project is installed, prints what a machine with PyTorch alone lacks:

    pip download --no-deps --only-binary :all: --python-version 3.12 --platform manylinux_2_28_x86_64 --dest WHEELS \
        $(.venv/bin/python scripts/missing.py --carry)
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

TESTS = ("hypothesis", "pytest", "pytest-timeout", "pytest-xdist")
"""Optional packages that tests on a device need."""
# A machine's own build for its device must stay: another one may not support the device, and has gigabytes.
KEPT = re.compile(r"(torch|torchvision|triton|pytorch-triton|nvidia-(?!ml-py$).*|cuda-.*)$")

THERE = ("torch", "torchvision", "numpy")
"""Packages that the other machine has, with all that these need."""
TARGET = {
    "python_version": "3.12",
    "python_full_version": "3.12.0",
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "sys_platform": "linux",
}
"""The other machine, in the markers of requirements."""


def is_here(name: str) -> bool:
    """Whether a package is installed for this Python."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def missing() -> list[str]:
    """Names of the packages that are needed and not here."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0] for line in project["dependencies"]]
    return [name for name in (*names, *TESTS) if not is_here(name)]


def wheels(folder: Path) -> list[str]:
    """The folder's wheels of packages that are not here; never of PyTorch or of what belongs to the driver."""
    named = {path: path.name.partition("-")[0].replace("_", "-").lower() for path in sorted(folder.glob("*.whl"))}
    return [str(path) for path, name in named.items() if not is_here(name) and not KEPT.match(name)]


def carried() -> list[str]:
    """Packages to bring to a machine that has PyTorch: ``name==version`` as installed here, or a name that is not."""
    names = needed(("loader-bench", *TESTS)) - needed(THERE) - {"loader-bench"}
    return [f"{name}=={importlib.metadata.version(name)}" if is_here(name) else name for name in sorted(names)]


def needed(lines: Iterable[str]) -> set[str]:
    """Names of the packages that requirements ask for on the other machine, and of all that these ask for in turn."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [(Requirement(line), frozenset[str]()) for line in lines]
    while todo:
        requirement, extras = todo.pop()
        marker, package = requirement.marker, (canonicalize_name(requirement.name), frozenset(requirement.extras))
        applies = marker is None or any(marker.evaluate({**TARGET, "extra": extra}) for extra in extras | {""})
        if applies and package not in seen:
            seen.add(package)
            requires = importlib.metadata.requires(package[0]) if is_here(package[0]) else None
            todo += [(Requirement(line), package[1]) for line in requires or ()]
    return {name for name, _ in seen}


if __name__ == "__main__":
    arguments = sys.argv[1:]
    listed = carried() if arguments == ["--carry"] else wheels(Path(arguments[0])) if arguments else missing()
    sys.stdout.write("".join(f"{line}\n" for line in listed))
