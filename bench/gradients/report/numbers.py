"""How a number is shown to a person; a CSV keeps it raw."""

from __future__ import annotations

import math

NOTE = "An error of inf stands for another shape, NaN or infinities; a dash for a referee that does not apply."


def error(value: float | None) -> str:
    """A relative error as ``1.2e-16``: two digits, "0" for an exact zero, a dash where nothing was compared."""
    if value is None or math.isnan(value):
        return "-"
    if value == 0 or math.isinf(value):
        return f"{value:.0f}"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"
