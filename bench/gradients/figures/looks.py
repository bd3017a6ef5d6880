"""How the audit's figures tell NumPy's line, PyTorch's markers and what the notes have wrong apart."""

from __future__ import annotations

from typing import Any

from bench.render.figurestyle import BLACK, BLUE, VERMILLION, WINE

OURS: dict[str, Any] = {"label": "NumPy, by hand", "color": BLUE, "linestyle": "-", "linewidth": 1.3, "zorder": 3}
"""A line computed by NumPy."""
THEIRS: dict[str, Any] = {
    "label": "PyTorch, autograd",
    "color": BLACK,
    "linestyle": "none",
    "marker": "o",
    "markersize": 3.4,
    "markerfacecolor": "none",
    "markeredgewidth": 0.7,
    "zorder": 4,
}
"""Markers of what PyTorch computes, open so that the line beneath is seen."""
WRONG: dict[str, Any] = {
    "label": "as written, wrong",
    "color": VERMILLION,
    "linestyle": (0, (4, 1.6)),
    "linewidth": 1.3,
    "zorder": 2.5,
}
"""A line of a form as written, and wrong."""
WRONG_TOO: dict[str, Any] = {
    **WRONG,
    "label": "as written, also wrong",
    "color": WINE,
    "linestyle": (0, (1, 1.2)),
    "zorder": 3.2,
}
"""A second such form beside the first."""
