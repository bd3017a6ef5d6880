"""Ctrl-C and a polite kill at any time after the program's first line: one sentence and exit code 130."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.forked import Started, started

SENTENCE = "bench: interrupted; what was recorded and prepared before is kept\n"

# Ends the program at the first import of a name below a prefix, as a person may, and goes on within it.
AT_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.{signal})
            for _ in range(1000): pass
            raise ImportError("as a C extension makes of it")
sys.meta_path.insert(0, Finder())
from bench.cli import main
sys.argv = ["bench", *{arguments!r}]
main()
"""


def told_of(err: str) -> str:
    """What was said apart from progress."""
    return "".join(line for line in err.splitlines(keepends=True) if not line.startswith("prepare "))


@pytest.mark.parametrize(("name", "number"), [("bench.streams", "SIGINT"), ("typer", "SIGINT"), ("torch", "SIGTERM")])
def test_while_the_program_is_imported(name: str, number: str) -> None:
    code = AT_IMPORT.format(name=name, signal=number, arguments=["loaders"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (130, SENTENCE)


@pytest.mark.parametrize(
    ("delay", "number"), [(0.0, signal.SIGINT), (0.4, signal.SIGINT), (None, signal.SIGINT), (None, signal.SIGTERM)]
)
def test_at_any_time(delay: float | None, number: signal.Signals, tmp_path: Path) -> None:
    """So long after `main` has begun, which is seen by its first import; None: when an epoch has been trained."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'bench.streams': print('here', flush=True)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    short = "--epochs 100000 --limit 64 --device cpu --threads 1 --ceiling-steps 0"
    command = ("run", "memory", "digits", *short.split(), "--data-dir", tmp_path, "--out", tmp_path / "out")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    start: type[subprocess.Popen[Any]] = Started if delay is None else subprocess.Popen
    with started(*command, start=start, env={**os.environ, "PYTHONPATH": path}) as process:
        assert process.stdout is not None
        if delay is None:
            assert process.stdout.readline().startswith("epoch 0: ")
        else:
            assert process.stdout.readline() == "here\n"
            time.sleep(delay)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, told_of(err)) == (130, SENTENCE)
    assert not (tmp_path / "out").exists()


def test_an_import_that_is_interrupted_while_a_command_works_is_no_error(tmp_path: Path) -> None:
    """A C extension may turn the interruption into an error of another kind."""
    arguments = ["run", "memory", "digits", "--limit", "64", "--device", "cpu", "--data-dir", str(tmp_path)]
    code = AT_IMPORT.format(
        name="torch._dynamo", signal="SIGINT", arguments=[*arguments, "--out", str(tmp_path / "out"), "--compile"]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, told_of(done.stderr)) == (130, SENTENCE)


def test_what_is_ignored_stays_ignored() -> None:
    """As below nohup, or in the background of a script."""
    code = "import signal, bench.cli.signals as s; s.end_at_once(); print(signal.getsignal(signal.SIGINT))"
    line = f"trap '' INT; '{sys.executable}' -c '{code}'"
    done = subprocess.run(["bash", "-c", line], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == str(signal.SIG_IGN)
