"""A headless Chromium: opens pages, measures them, hears what they print and ask for.

Speaks the DevTools protocol over a pipe: JSON messages that end with a zero byte, on file
descriptors 3 and 4 of the browser. No port, no package, no driver to keep in step with it.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
from pathlib import Path
from time import monotonic
from typing import Any

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PACKAGE = "chromium-headless-shell"
"""What has the first of them on Debian."""
_ANSWER_S = 60
_FLAGS = (
    "--headless", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
    "--no-sandbox",  # it cannot be had as root or in containers; pages here are our own
    "--disable-dev-shm-usage",
)  # fmt: skip


class BrowserError(Exception):
    """The browser does not answer, or refuses a command."""


class Chromium:
    """One browser with one page; every event since the last `open` is kept."""

    def __init__(self, program: str, profile: Path) -> None:
        """Start it; `profile` is a folder for its files."""
        reads, browser_writes = os.pipe()
        browser_reads, writes = os.pipe()
        self._reads, self._writes = reads, writes
        # The browser expects the pipe at 3 and 4; a shell puts it there, whatever numbers it has.
        ends = f'exec "$0" "$@" 3<&{browser_reads} 4>&{browser_writes}'
        self._process = subprocess.Popen(
            ["bash", "-c", ends, program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(browser_reads, browser_writes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(browser_reads)
        os.close(browser_writes)
        self._buffer, self._count, self._session = b"", 0, ""
        self._events: list[dict[str, Any]] = []
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self._call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(_ANSWER_S)
        os.close(self._reads)
        os.close(self._writes)

    def open(self, page: Path, width: int, height: int, scheme: str = "light") -> None:
        """Load a file at a size, in CSS pixels, and in a colour scheme; wait until it is shown."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._call("Emulation.setEmulatedMedia", features=[feature])
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self._events.clear()
        self._call("Page.navigate", url=page.resolve().as_uri())
        self._wait_for("Page.loadEventFired")

    def value(self, expression: str) -> Any:
        """What a JavaScript expression comes to in the page."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(answer["exceptionDetails"]["text"])
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """What the page printed to the console, threw or was refused, since it was opened."""
        self.value("0")  # events come before the answer to a later question
        said = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(e["params"]) for e in self._events if e["method"] in said]

    def requests(self) -> list[str]:
        """Addresses that the page asked for, beside its own; data in the page is not asked for."""
        self.value("0")
        sent = [e["params"] for e in self._events if e["method"] == "Network.requestWillBeSent"]
        return [
            params["request"]["url"]
            for params in sent
            if params["type"] != "Document" and not params["request"]["url"].startswith("data:")
        ]

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Save what is shown, or the whole page, as PNG."""
        answer = self._call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") != self._count:
                self._events.append(answer)
            elif "error" in answer:
                raise BrowserError(f"{method}: {answer['error']['message']}")
            else:
                result: dict[str, Any] = answer["result"]
                return result

    def _wait_for(self, event: str) -> None:
        while not any(e["method"] == event for e in self._events):
            self._events.append(self._next())

    def _next(self) -> dict[str, Any]:
        """The next message of the browser."""
        until = monotonic() + _ANSWER_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._reads], [], [], max(0.0, until - monotonic()))
            received = os.read(self._reads, 1 << 16) if ready else b""
            if not received:
                raise BrowserError(f"no answer; the browser's exit code: {self._process.poll()}")
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded
