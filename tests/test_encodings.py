"""No text is read or written by whatever encoding the machine happens to have."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted(
    [*(ROOT / "bench").rglob("*.py"), *(ROOT / "loaders").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")]
    + [path for path in (ROOT / "tests").glob("*.py") if not path.name.startswith("test_")]
)


def left_to_the_machine(source: str) -> Iterator[str]:
    """Calls that open text, or read a program's, without saying its encoding."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        named = {word.arg: word.value for word in call.keywords}
        true = {key for key, value in named.items() if isinstance(value, ast.Constant) and value.value is True}
        if "encoding" in named or None in named:
            continue
        if name in ("read_text", "write_text") and len(call.args) < (1 if name == "read_text" else 2):
            yield f"line {call.lineno}: {name}"
        if {"text", "universal_newlines"} & true:
            yield f"line {call.lineno}: {name} of text"
        if name in ("open", "fdopen") and _is_text(call, named.get("mode")):
            yield f"line {call.lineno}: {name}"


def _is_text(call: ast.Call, mode: ast.expr | None) -> bool:
    """Whether an opening is one of text: by its mode, or as ``open(PATH)`` without any."""
    words = [arg.value for arg in [*call.args, mode] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    modes = [word for word in words if word and set(word) <= set("rwaxbt+")]
    return "b" not in modes[0] if modes else isinstance(call.func, ast.Name) and mode is None


SOURCES = {
    "open(path)": True,
    "open(path, encoding='utf-8')": False,
    "path.open('w')": True,
    "path.open(mode='a')": True,
    "path.open('rb')": False,
    "open(path, 'xb')": False,
    "os.fdopen(1, 'w')": True,
    "store.open('train')": False,
    "path.read_text()": True,
    "path.read_text(errors='replace')": True,
    "path.write_text(text)": True,
    "path.write_text(text, 'utf-8')": False,
    "subprocess.run(what, text=True)": True,
    "subprocess.run(what, encoding='utf-8')": False,
}


def test_what_is_left_to_the_machine_is_found() -> None:
    assert {source: bool(list(left_to_the_machine(source))) for source in SOURCES} == SOURCES


def test_every_text_has_its_encoding() -> None:
    found = {path: list(left_to_the_machine(path.read_text(encoding="utf-8"))) for path in FILES}
    assert len(found) > 200
    assert {path.relative_to(ROOT).as_posix(): calls for path, calls in found.items() if calls} == {}
