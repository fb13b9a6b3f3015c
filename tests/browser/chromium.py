"""A headless Chromium over its own pipe (the DevTools protocol), with nothing but the standard library."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 60


class Browser:
    """One page of a headless browser."""

    def __init__(self, to: int, come: int) -> None:
        self._to, self._come = to, come
        self._left, self._last, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        """All that the page has told: requests, errors, what its policy stopped."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Audits", "Accessibility"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result. Raises RuntimeError with what the browser objects to."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._last:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str) -> None:
        """Go to an address and wait until it has loaded."""
        self.events.clear()
        self.ask("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def shown(self, *, width: int, height: int = 900, dark: bool = False, media: str = "", script: bool = True) -> None:
        """Choose how wide the page is, light or dark, on screen or for print, and whether its script may run."""
        phone = width < 500
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.ask("Emulation.setScriptExecutionDisabled", value=not script)

    def tell(self, expression: str) -> Any:
        """Return what an expression of the page comes to."""
        told = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in told:
            raise RuntimeError(str(told["exceptionDetails"]))
        return told["result"].get("value")

    def picture(self, path: Path, *, top: int = 0, height: int | None = None) -> None:
        """Take a picture of the page, or of a part of it."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        whole = size["height"] - top if height is None else min(height, size["height"] - top)
        clip = {"x": 0, "y": top, "width": size["width"], "height": whole, "scale": 1}
        shot = self.ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def printed(self, path: Path) -> None:
        """Print the page as a person would, on the paper that it asks for."""
        options = {"preferCSSPageSize": True, "printBackground": False}
        path.write_bytes(base64.b64decode(self.ask("Page.printToPDF", **options)["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            came = os.read(self._come, 1 << 20)
            if not came:
                raise RuntimeError("the browser has gone")
            self._left += came
        message, self._left = self._left.split(b"\0", 1)
        told: dict[str, Any] = json.loads(message)
        return told


def found() -> str | None:
    """Return the path of a Chromium; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def browser(program: str) -> Iterator[Browser]:
    """Start a Chromium that can reach nobody, and end it."""
    out_read, out_write = os.pipe()
    in_read, in_write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:  # its children may still write there
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
        flags += [f"--user-data-dir={home}", "--remote-debugging-pipe", "--disable-background-networking"]
        flags += ["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-component-update", "--disable-sync"]

        def pipes() -> None:  # the protocol's descriptors are 3 and 4 (--remote-debugging-pipe)
            kept_in, kept_out = os.dup(in_read), os.dup(out_write)
            os.dup2(kept_in, 3)
            os.dup2(kept_out, 4)
            os.set_inheritable(3, True)
            os.set_inheritable(4, True)

        process = subprocess.Popen(
            [program, *flags], preexec_fn=pipes, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(in_read)
        os.close(out_write)
        try:
            yield Browser(in_write, out_read)
        finally:
            process.terminate()
            process.wait(PATIENCE)
            os.close(in_write)
            os.close(out_read)
