"""Tells which packages that the project needs this Python lacks, or which wheels of a folder would bring some.

Usage: ``missing.py`` prints names, ``missing.py DIR`` paths of wheels. Nothing but Python itself is needed for it.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

TESTS = ("hypothesis", "pytest", "pytest-timeout")
"""What tests on a device need of the optional packages."""
# A machine's own build for its device must stay: another one may not know the device, and is gigabytes.
KEPT = re.compile(r"(torch|torchvision|triton|pytorch-triton|nvidia-(?!ml-py$).*|cuda-.*)$")


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


if __name__ == "__main__":
    found = wheels(Path(sys.argv[1])) if len(sys.argv) > 1 else missing()
    sys.stdout.write("".join(f"{line}\n" for line in found))
