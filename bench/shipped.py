"""Where the configurations lie that come with the program: beside its package, or, in a wheel, inside it."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str = "") -> Path:
    """The folder of the shipped configurations, or a file in it, which need not exist."""
    inside = _PACKAGE / "configs"
    return (inside if inside.is_dir() else _PACKAGE.parent / "configs") / name
