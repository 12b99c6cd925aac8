"""A real browser without a window: Chromium, driven by Selenium."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually

_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


class Browser:
    """A page in Chromium."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str, *, width: int = 1200, dark: bool = False) -> None:
        """Open `url` in a window of `width` pixels, of an operator who prefers light or dark."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self._resize(width, 900)
        self.driver.get(url)

    def _resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def ask(self, script: str) -> Any:
        """Return what a JavaScript expression gives in the page."""
        return self.driver.execute_script(f"return {script}")

    def text(self, selector: str) -> str:
        """Return the text of the first element that `selector` finds."""
        return str(self.ask(f"document.querySelector({selector!r})?.innerText ?? ''"))

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until `condition` is true; fail with `what` was waited for and what the page complained of."""
        eventually(condition, explain=lambda: f"{what}; the page says {self.complaints()}")

    def complaints(self) -> list[str]:
        """Return what the page has written to the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def photograph(self, path: Path) -> None:
        """Save a picture of the whole page."""
        width, height = self.ask("[innerWidth, document.documentElement.scrollHeight]")
        self._resize(width, height)
        time.sleep(0.5)  # the charts follow a change of size in the next frame
        self.driver.save_screenshot(str(path))


@contextmanager
def opened() -> Iterator[Browser]:
    """Start a browser; the test is skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("Chromium or its driver is not installed (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield Browser(started)
    finally:
        started.quit()
