"""The page in headless Chromium, driven as a person would: files are chosen, keys are pressed.

BRAIN_TUMOR_SCREENSHOTS names a folder where what was seen is left to be looked at.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
import uvicorn
from PIL import Image
from serving.tiny import write_tiny_model

from brain_tumor.serving import web
from brain_tumor.serving.connections import Patience
from brain_tumor.serving.predictor import Predictor

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver on this machine"),
]

DESKTOP, PHONE = (1280, 900), (390, 844)
TAB, LEFT = "\ue004", "\ue012"
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's name in the WebDriver standard


class Browser:
    """As much of WebDriver (https://www.w3.org/TR/webdriver2/) as the tests need."""

    def __init__(self, port, profile):
        self.base = f"http://127.0.0.1:{port}"
        options = {
            "binary": CHROMIUM,
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"],
        }
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        self.base += f"/session/{session['sessionId']}"

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.base + path, data, method=method), timeout=120) as got:
            return json.load(got)["value"]

    def open(self, address):
        self._call("POST", "/url", {"url": address})

    def close(self):
        self._call("DELETE", "")

    def script(self, code):
        return self._call("POST", "/execute/sync", {"script": code, "args": []})

    def size(self, width, height):
        """Of the page itself; a window of Chromium is never as narrow as a phone."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        command = {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}
        self._call("POST", "/goog/cdp/execute", command)

    def choose(self, *files):
        """What the dialogue for files comes to, which no browser lets a program open."""
        chooser = self._call("POST", "/element", {"using": "css selector", "value": "#files"})
        self._call("POST", f"/element/{chooser[ELEMENT]}/value", {"text": "\n".join(map(str, files))})

    def press(self, key, times=1):
        strokes = [{"type": kind, "value": key} for _ in range(times) for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def wait_for(self, text, seconds=60):
        end = time.monotonic() + seconds
        while text not in (shown := self.script("return document.body.innerText")):
            assert time.monotonic() < end, shown
            time.sleep(0.1)
        return shown

    def screenshot(self, name):
        folder = os.environ.get("BRAIN_TUMOR_SCREENSHOTS")
        if folder:
            Path(folder, name).write_bytes(base64.b64decode(self._call("GET", "/screenshot")))


@pytest.fixture
def address(tmp_path):
    """A running server with a model whose answers are known."""
    app = web.create_app(Predictor(write_tiny_model(tmp_path / "model.onnx")))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", http=Patience))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@pytest.fixture
def browser(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    driver = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5).close()
            break
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < end, "chromedriver does not answer"
            time.sleep(0.1)
    made = None
    try:
        made = Browser(port, tmp_path / "profile")
        yield made
    finally:
        if made:
            made.close()
        driver.terminate()
        driver.wait()


@pytest.fixture
def files(tmp_path):
    """A picture the model calls notumor, one like no other, and one that is none, with a name that is markup."""
    soft = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 1, (300, 260)), (0, 0), 20)
    grey = (153 + 20 * soft / np.abs(soft).max()).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "slice of a head.png")
    Image.fromarray((np.indices((32, 32)).sum(axis=0) % 2 * 255).astype(np.uint8)).save(tmp_path / "chessboard.png")
    bad = tmp_path / "<b>bad<b>.png"
    bad.write_bytes(b"none")
    return tmp_path / "slice of a head.png", tmp_path / "chessboard.png", bad


def test_pictures_and_a_bad_file(address, browser, files):
    browser.size(*DESKTOP)
    browser.open(address)
    assert "This is no diagnosis" in browser.wait_for("no diagnosis")

    browser.choose(*files)

    shown = browser.wait_for("3 files done, 1 could not be read.")
    assert "notumor, 99." in shown
    assert "Cannot be ruled out at 95 %: notumor" in shown
    assert "Not like the training images" in shown
    assert "its features are 1.67 times as far away as is allowed" in shown
    assert browser.script("return document.querySelectorAll('input[type=range]').length") == 1  # none for the unlike
    assert "cannot be read" in shown
    assert "<b>bad<b>.png" in shown  # a file name is text, never markup
    assert browser.script("return document.querySelectorAll('#results b').length") == 0
    assert browser.script("return [...document.images].every(image => image.naturalWidth === 32)")
    loaded = browser.script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert all(name.startswith((address, "data:")) for name in loaded)
    browser.screenshot("desktop.png")

    browser.size(*PHONE)
    assert browser.script("return innerWidth") == PHONE[0]
    assert browser.script("return document.documentElement.scrollWidth") <= PHONE[0]
    browser.screenshot("phone.png")


def test_the_keyboard_is_enough(address, browser, files):
    browser.size(*DESKTOP)
    browser.open(address)
    browser.press(TAB)
    assert browser.script("return document.activeElement.id") == "files"
    browser.screenshot("focus.png")

    browser.choose(files[0])
    browser.wait_for("1 file done.")
    browser.press(TAB)
    assert browser.script("return document.activeElement.type") == "range"
    heat = "return Number(document.querySelectorAll('figure img')[1].style.opacity)"
    before = browser.script(heat)
    browser.press(LEFT, times=30)

    assert before - browser.script(heat) == pytest.approx(0.3)
    assert browser.script("return document.querySelector('[role=status]').textContent") == "1 file done."
    assert browser.script("return [...document.images].every(image => image.alt)")
