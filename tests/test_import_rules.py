"""What each part may know (see [tool.importlinter] in pyproject.toml)."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from loaders import BUILT_IN

ROOT = Path(__file__).parents[1]


def test_the_import_rules_hold() -> None:
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_the_rules_know_every_loader() -> None:
    rules: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    (independent,) = [rule["modules"] for rule in rules if rule["type"] == "independence"]
    assert set(independent) == {spec.target.partition(":")[0] for spec in BUILT_IN.values()}
