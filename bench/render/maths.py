"""Formulas in tables: given as LaTeX for math mode, several in one cell parted by a quad."""

from __future__ import annotations

import re

PACKAGES = ("amsmath", "graphicx")
MACRO = r"""\providecommand{\benchmaths}{}
\renewcommand{\benchmaths}[1]{% in its natural size where the column is wide enough, else as wide as the column
  \sbox0{$\displaystyle #1$}%
  \ifdim\wd0>\linewidth\sbox0{\resizebox{\linewidth}{!}{\usebox0}}\fi
  \raisebox{0pt}[\dimexpr\ht0+2pt][\dimexpr\dp0+2pt]{\usebox0}}"""
"""Sets one formula in a box that is no wider than its column."""


def latex(formulas: str) -> str:
    """Each formula in a box of its own, so that lines are broken between them."""
    parts = (part.strip() for part in formulas.split(r"\quad"))
    return r"\hspace{1em}".join(rf"\benchmaths{{{part}}}" for part in parts)


def markdown(formulas: str) -> str:
    """Within a cell of a table, as GitHub takes it: it refuses ``operatorname``, and a bar would end the cell."""
    upright = re.sub(r"\\operatorname\b\*?", r"\\mathrm", formulas.strip()).replace("|", r"\vert ")
    return f"$`{upright}`$"
