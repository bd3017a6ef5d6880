"""Compiles LaTeX, where it can be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest


def compiled(document: Path) -> str:
    """Compile a document within its folder until its references are known; the log of the last pass.

    Skips where there is no pdflatex, except that the project's own CI must have it.
    """
    program = shutil.which("pdflatex")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no pdflatex, which CI must have; .ci/run installs it")
        pytest.skip("there is no pdflatex here")
    for _ in range(3):  # a long table's columns settle in the second or third
        done = subprocess.run(
            [program, "-interaction=nonstopmode", "-halt-on-error", document.name],
            cwd=document.parent,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        assert done.returncode == 0, done.stdout[-3000:]
        if "Rerun" not in done.stdout and "have changed" not in done.stdout:
            break
    assert document.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    return document.with_suffix(".log").read_text(encoding="utf-8", errors="replace")


def complaints(log: str) -> list[str]:
    """What runs off the page, is undefined or missing."""
    return re.findall(r"^(?:Overfull|LaTeX Warning|Package \w+ Warning|Missing character).*", log, re.M)
