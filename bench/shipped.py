"""The configurations that come with the program: by a link to the repository's folder, in a wheel as copies."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UsageError

_FOLDER = Path(__file__).resolve().parent / "configs"
ACCELERATORS = _FOLDER / "accelerators.toml"


def shipped_sweep(name: Path) -> Path:
    """The file of a sweep: as it is named, or, where there is none, the shipped one of that name, such as ``demo``.

    Raises:
        UsageError: a bare name that is neither.
    """
    if name.exists() or name.suffix or name.parent != Path():
        return name
    found = {path.stem: path for path in _FOLDER.glob("*.toml") if path != ACCELERATORS}
    if name.name not in found:
        raise UsageError(f"there is no file {name} and no sweep of that name; there are: {', '.join(sorted(found))}")
    return found[name.name]
