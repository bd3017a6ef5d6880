"""Drives headless Chromium over its DevTools protocol, on two pipes: no port, no driver and no package is needed."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 60.0
"""Seconds that any answer may take: a cold start on a busy machine takes a few."""

FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_COMMANDS, _ANSWERS = 3, 4  # the file descriptors that the protocol fixes
_VIRTUAL_KEYS = {"Enter": 13, " ": 32, "Tab": 9, "Escape": 27}


class Browser:
    """One page in a Chromium of its own.

    Attributes:
        events: everything the page told since `clear`, as the protocol words it: requests, console, exceptions.
    """

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._numbers = itertools.count(1)
        self._unread = b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and wait for its answer."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        _write(self._send, json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result

    def open(self, path: Path, fragment: str = "") -> None:
        """Open a file and wait until it is loaded."""
        for address in ("about:blank", path.resolve().as_uri() + fragment):  # else another fragment would load nothing
            self.events.clear()
            self.call("Page.navigate", url=address)
            self.wait_for("Page.loadEventFired")

    def wait_for(self, method: str) -> dict[str, Any]:
        """The first event of a kind since the last `open`."""
        while True:
            for event in self.events:
                if event["method"] == method:
                    found: dict[str, Any] = event["params"]
                    return found
            self._message()

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def press(self, key: str, shift: bool = False) -> None:
        """Press and release a key, as a keyboard does."""
        text = {"Enter": "\r", "Tab": "", "Escape": ""}.get(key, key)
        common: dict[str, Any] = {"key": key, "code": "Space" if key == " " else key, "modifiers": 8 if shift else 0}
        if key in _VIRTUAL_KEYS:
            common["windowsVirtualKeyCode"] = _VIRTUAL_KEYS[key]
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        for letter in text:
            self.press(letter)

    def click(self, selector: str) -> None:
        """Click the middle of the first element that a selector finds, once it is scrolled into view."""
        quoted = json.dumps(selector)
        self.run(f"document.querySelector({quoted}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = self.run(
            f"(() => {{ const b = document.querySelector({quoted}).getClientRects()[0];"
            " return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def appear(self, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show the page on a screen of this size."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path, whole: bool = False) -> None:
        """Save what is seen, or the whole page, as PNG."""
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))

    def printed(self) -> bytes:
        """The page as a PDF, on the paper that its style asks for."""
        paper = {"preferCSSPageSize": True, "printBackground": False}
        return base64.b64decode(self.call("Page.printToPDF", **paper)["data"])

    def requests(self) -> list[str]:
        """Addresses that the page asked for since `open`, blocked ones included."""
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """What stands in the console since `open`: messages, exceptions and what the browser itself logs."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"]) for event in self.events if event["method"] in kinds]

    def _message(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._receive], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"Chromium said nothing for {PATIENCE:.0f} s"
            piece = os.read(self._receive, 1 << 20)
            assert piece, "Chromium ended"
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self.events.append(message)
        return message


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that knows nothing, and is gone afterwards.

    Skips where there is no Chromium, except that the project's own CI must have it.
    """
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no chromium, which CI must have; .ci/run installs it")
        pytest.skip("there is no chromium here")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = [*FLAGS, f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        theirs_in, send = _pipe()
        receive, theirs_out = _pipe()
        log = os.open(Path(profile) / "log", os.O_CREAT | os.O_WRONLY)
        actions = [
            (os.POSIX_SPAWN_DUP2, theirs_in, _COMMANDS),
            (os.POSIX_SPAWN_DUP2, theirs_out, _ANSWERS),
            *((os.POSIX_SPAWN_DUP2, log, standard) for standard in (1, 2)),
        ]
        process = os.posix_spawn(program, [program, *flags], os.environ, file_actions=actions, setpgroup=0)
        for descriptor in (theirs_in, theirs_out, log):
            os.close(descriptor)
        try:
            yield Browser(send, receive)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            os.close(send)
            os.close(receive)


def _pipe() -> tuple[int, int]:
    """A pipe whose descriptors collide with none that the browser gets."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
