"""The live page in a real browser, over a real sidecar that a real node feeds."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.data import BASE_MODEL
from tests.monitor import browser as browsers
from tests.monitor.browser import Browser
from tests.support.sidecar import COMMAND, Sidecar, running

pytestmark = pytest.mark.processes

SAMPLES = 4000
PICTURES = {"light": (1200, False), "dark": (1200, True), "narrow": (390, False)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a browser, or skip the tests."""
    with browsers.opened() as started:
        yield started


@pytest.fixture(scope="module")
def sidecar(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Run a sidecar that has learned from a node and published several checkpoints."""
    del browser  # without one there is no need to start
    settings = {
        "VMAFX_SIDECAR_N_FEATURES": "6",
        "VMAFX_BASE_MODEL_PATH": str(BASE_MODEL),
        "VMAFX_SIDECAR_CKPT_INTERVAL_S": "3",
        "VMAFX_SIDECAR_MIN_SAMPLES_CKPT": "300",
        "VMAFX_REGISTRY_URL": tmp_path_factory.mktemp("registry").as_uri(),
    }
    with running(tmp_path_factory.mktemp("page"), **settings) as started:
        places = ["--socket", str(started.socket), "--checkpoint-dir", str(started.checkpoints)]
        load = ["--rate", "250", "--connections", "4", "--samples", str(SAMPLES)]
        subprocess.run([*COMMAND, "feed", *places, *load], check=True, capture_output=True, timeout=120)
        started.wait_for(lambda: started.reported().exporter.version >= 3)
        yield started


@pytest.fixture
def page(browser: Browser, sidecar: Sidecar) -> Browser:
    """Return the page, filled."""
    _open(browser, sidecar)
    return browser


def _open(browser: Browser, sidecar: Sidecar, *, width: int = 1200, dark: bool = False) -> None:
    browser.open(sidecar.url() + "/", width=width, dark=dark)
    browser.wait(lambda: browser.text("#phase") == "running", "phase running")
    browser.wait(lambda: "model_v" in browser.text("#checkpoints"), "checkpoints")
    browser.wait(lambda: "Latest" in browser.text("#error-caption"), "the learning curve")
    browser.wait(lambda: "published" in browser.text("#events"), "log events")
    browser.wait(lambda: "%" in browser.text("#processes"), "shares of the processor")
    browser.wait(lambda: "last push" in browser.text("#tiles"), "what is in the registry")


def test_it_shows_what_the_sidecar_does(page: Browser) -> None:
    """Samples, models' errors, checkpoints with the gate's reasons, processes and events are on the page."""
    assert f"{SAMPLES:,}" in page.text("#tiles")
    assert "base model" in page.text("#error-caption")
    assert page.ask("document.querySelectorAll('#checkpoints tbody > tr').length") >= 3
    reasons = page.ask("[...document.querySelectorAll('#checkpoints td[data-label=why]')].map(each => each.innerText)")
    assert all(len(reason) > 20 for reason in reasons)
    roles = page.ask("[...document.querySelectorAll('#processes tbody th')].map(each => each.innerText)")
    assert roles == ["ingest", "trainer", "exporter", "monitor"]
    assert "listening" in page.text("#events")


def test_it_complains_of_nothing_and_asks_nobody_else(page: Browser) -> None:
    """The browser has no error to report, and every request went to the sidecar itself."""
    assert page.complaints() == []
    addresses = page.ask("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert len(addresses) > 5
    assert {address.split("/")[2] for address in addresses} == {page.ask("location.host")}


def test_figures_by_owner_can_be_unfolded(page: Browser) -> None:
    """The node names its codecs and itself, so the newest checkpoint has a table of each."""
    page.ask("document.querySelector('#checkpoints details').open = true")
    captions = page.ask("[...document.querySelectorAll('#checkpoints details[open] caption')].map(c => c.textContent)")
    assert "held-out: RMSE by codec" in captions
    assert "held-out: RMSE by node" in captions
    assert "fake-node" in page.text("#checkpoints details[open]")


def test_the_charts_are_drawn(page: Browser) -> None:
    """Trained and base model are lines of their colours in the first chart, waiting samples one in the second."""
    drawn = """(colour => [...document.querySelectorAll('canvas')].map(canvas => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let i = 0; i < data.length; i += 4) count += data.slice(i, i + 3).join() === colour && data[i + 3] > 250;
        return count;
    }))"""
    errors, waiting = page.ask(f"{drawn}('0,114,178')")
    assert errors > 100
    assert waiting > 100
    assert page.ask(f"{drawn}('192,79,0')[0]") > 100


def test_the_other_test_can_be_chosen(page: Browser) -> None:
    """Choosing the held-out samples changes what the chart says."""
    before = page.text("#error-caption")
    page.ask("document.querySelector('input[value=held_out]').click()")
    page.wait(lambda: page.text("#error-caption") != before, "the other figures")


@pytest.mark.parametrize("name", list(PICTURES))
def test_it_fits_and_can_be_read(browser: Browser, sidecar: Sidecar, tmp_path: Path, name: str) -> None:
    """In every shape nothing sticks out sideways, and every text has at least the contrast that WCAG AA asks for.

    Where PICTURES_TO names a directory, the picture goes there.
    """
    width, dark = PICTURES[name]
    _open(browser, sidecar, width=width, dark=dark)
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask(_LOWEST_CONTRAST) >= 4.5
    picture = Path(os.environ.get("PICTURES_TO", tmp_path)) / f"page-{name}.png"
    browser.photograph(picture)
    assert picture.stat().st_size > 20_000


def test_a_screen_reader_finds_its_way(page: Browser) -> None:
    """There are landmarks and one top heading, sections have names, tables have captions and headers, inputs labels."""
    assert page.ask("document.documentElement.lang") == "en"
    for landmark in ("header", "main", "footer"):
        assert page.ask(f"document.querySelectorAll('body > {landmark}').length") == 1
    assert page.ask("document.querySelectorAll('h1').length") == 1
    named = "s => document.getElementById(s.getAttribute('aria-labelledby'))?.textContent"
    assert page.ask(f"[...document.querySelectorAll('section')].every({named})")
    tables = "[...document.querySelectorAll('table.data')]"
    assert page.ask(f"{tables}.length") >= 5
    assert page.ask(f"{tables}.every(t => t.caption?.textContent && t.querySelector('th[scope=col]'))")
    assert page.ask("[...document.querySelectorAll('input')].every(input => input.labels.length === 1)")
    assert page.ask("document.querySelectorAll('[aria-live], [role=status], [role=alert]').length") == 2
    rows = page.ask("document.querySelectorAll('#error-data tbody tr').length")
    assert rows >= 3


def test_it_tells_when_the_sidecar_is_silent(page: Browser, sidecar: Sidecar) -> None:
    """When the monitor dies, the page says that what it shows is out of date."""
    before = sidecar.pid("monitor")
    assert page.ask("document.getElementById('lost').hidden")
    os.kill(before, signal.SIGKILL)
    page.wait(lambda: "does not answer" in page.text("#lost"), "the notice")
    assert f"{SAMPLES:,}" in page.text("#tiles")


_LOWEST_CONTRAST = """(() => {
    const rgb = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b]
        .map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const back = element => {
        for (let e = element; e; e = e.parentElement) {
            const colour = rgb(getComputedStyle(e).backgroundColor);
            if (colour.length === 3 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
    };
    const texts = [...document.querySelectorAll('body *')]
        .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && e.offsetParent);
    return Math.min(...texts.map(e => {
        const [a, b] = [light(rgb(getComputedStyle(e).color)), light(back(e))].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
    }));
})()"""
