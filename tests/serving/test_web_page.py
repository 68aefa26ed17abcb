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
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import uvicorn
from made import nifti
from PIL import Image
from serving.tiny import tiny_series, tiny_volume, write_tiny_model

from brain_tumor.serving import cli, web
from brain_tumor.serving.connections import Patience
from brain_tumor.serving.predictor import Predictor

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver on this machine"),
]

DESKTOP, PHONE = (1280, 900), (360, 780)
TAB, ENTER, LEFT, RIGHT = "\ue004", "\ue007", "\ue012", "\ue014"
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

    def devtools(self, command, **parameters):
        """What a driver has no words for: https://chromedevtools.github.io/devtools-protocol/"""
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width, height):
        """Of the page itself; a window of Chromium is never as narrow as a phone."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    def _element(self, selector):
        return self._call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self._call("POST", f"/element/{self._element(selector)}/click", {})

    def choose(self, *files):
        """What the dialogue for files comes to, which no browser lets a program open."""
        self._call("POST", f"/element/{self._element('#files')}/value", {"text": "\n".join(map(str, files))})

    def drop(self, path):
        """A file or folder onto the middle of the page's upper part, where it takes files."""
        place = self.script(
            "const box = document.querySelector('#drop').getBoundingClientRect(); return [box.x, box.y]"
        )
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.devtools("Input.dispatchDragEvent", type=kind, x=place[0] + 9, y=place[1] + 9, data=data)

    def download(self, selector, folder):
        """The text of the file that a click saves."""
        self.devtools("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.click(selector)
        end = time.monotonic() + 20
        while not (found := [path for path in folder.glob("brain-tumor.*") if path.suffix != ".crdownload"]):
            assert time.monotonic() < end, "nothing was saved"
            time.sleep(0.1)
        text = found[0].read_text(encoding="utf-8")
        found[0].unlink()
        return text

    def table(self):
        """The cells of the table of results that are shown, row by row."""
        return self.script(
            "return [...document.querySelectorAll('#table tbody tr')].map(row => [...row.cells].map(c => c.innerText))"
        )

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


@contextmanager
def serving(model):
    """A running server."""
    app = web.create_app(Predictor(model))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", http=Patience))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@pytest.fixture
def model(tmp_path):
    """One whose answers are known."""
    return write_tiny_model(tmp_path / "model.onnx")


@pytest.fixture
def address(model):
    with serving(model) as found:
        yield found


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


ILL = (0.6, 0.6, 0.2, 0.2, 0.2, 0.6)
"""Slices of a volume: no tumour, but for three with a glioma."""


@pytest.fixture
def volume(tmp_path):
    """A NIfTI file."""
    path = tmp_path / "head.nii.gz"
    path.write_bytes(nifti(tiny_volume(*ILL), (1, 1, 3), compressed=True))
    return path


@pytest.fixture
def series(tmp_path):
    """A folder with the DICOM files of a series, whose names are not in the order of the slices."""
    folder = tmp_path / "series"
    folder.mkdir()
    for name, content in zip("cfadbe", tiny_series(*ILL), strict=True):
        (folder / f"{name}.dcm").write_bytes(content)
    return folder


def ask(address, path):
    """The API's answer for a file."""
    request = urllib.request.Request(f"{address}api/predict?images=true", path.read_bytes())
    request.add_header("Content-Type", "application/octet-stream")
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def assert_narrow(browser):
    assert browser.script("return innerWidth") == PHONE[0]
    assert browser.script("return document.documentElement.scrollWidth") <= PHONE[0]


def test_pictures_and_a_bad_file(address, browser, files):
    browser.size(*DESKTOP)
    browser.open(address)
    assert "This is no diagnosis" in browser.wait_for("no diagnosis")
    browser.script(
        "const [text, bar] = ['#status', '#progress'].map(name => document.querySelector(name)); window.told = [];"
        "const note = () => told.push([text.textContent, bar.hidden ? 0 : bar.value]);"
        "new MutationObserver(note).observe(text, {childList: true})"
    )

    browser.choose(*files)

    shown = browser.wait_for("3 files done, 1 could not be read.")
    told = [[f"Working on {file.name} ({number + 1} of 3)", number] for number, file in enumerate(files)]
    assert browser.script("return told") == [*told, ["3 files done, 1 could not be read.", 0]]
    assert "notumor, 99." in shown  # the first picture is open
    assert "Cannot be ruled out at 95 %: notumor" in shown
    head, chessboard, bad = browser.table()
    assert (head[:2], head[3:]) == (["slice of a head.png", "notumor"], ["notumor", "–"])
    assert chessboard[1].startswith("not like the training images: its features are 1.67 times as far away")
    assert bad[0] == "<b>bad<b>.png"  # a file name is text, never markup
    assert "cannot be read" in bad[1]
    assert browser.script("return document.querySelectorAll('#results b').length") == 0
    assert browser.script("return [...document.querySelectorAll('figure img')].map(i => i.naturalWidth)") == [32, 32]
    loaded = browser.script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert all(name.startswith((address, "data:")) for name in loaded)
    browser.screenshot("desktop.png")

    browser.click("#table tbody tr:nth-child(2) button")
    assert "it: its features are 1.67 times as far away as is allowed." in browser.wait_for("cannot tell anything")
    assert browser.script("return document.querySelector('#heat').checkVisibility()") is False
    assert browser.script("return document.querySelector('#strength').disabled")
    browser.size(*PHONE)
    assert_narrow(browser)
    browser.screenshot("phone.png")


def test_a_slider_goes_through_the_slices_of_a_volume(address, browser, volume):
    answer = ask(address, volume)
    browser.size(*DESKTOP)
    browser.open(address)
    browser.choose(volume)

    shown = browser.wait_for("Tumour in 3 slices, 2 to 4: 50.0 % of the head, 9 mm.")
    assert browser.table() == [["head.nii.gz", "glioma", browser.table()[0][2], "–", "3"]]
    assert "shows a tumour" in shown  # it begins there
    assert browser.script("return document.querySelector('#marks').getAttribute('d').split('M').length - 1") == 3
    browser.screenshot("volume.png")
    browser.script("document.querySelector('#slice').focus()")
    browser.press(LEFT, times=6)
    for number, picture in enumerate(answer["pictures"]):
        marked = ", shows a tumour" if number in (2, 3, 4) else ""
        assert browser.script("return document.querySelector('#told h3').textContent") == f"Slice {number}{marked}"
        seen = browser.script("return [...document.querySelectorAll('figure img')].map(image => image.src)")
        assert seen == [f"data:image/png;base64,{picture[kind]}" for kind in ("picture", "heat_map")]
        told = browser.script("return document.querySelector('#slice').getAttribute('aria-valuetext')")
        assert told == f"{number}: {picture['label']}, {100 * picture['probability']:.1f} %{marked}"
        browser.press(RIGHT)

    browser.click("#curve")  # in its middle
    assert browser.script("return document.querySelector('#told h3').textContent").startswith("Slice 3")
    heights = browser.script("return document.querySelector('#line').getAttribute('d').match(/[\\d.]+(?=L|$)/g)")
    tumour = [100 * picture["probabilities"]["notumor"] for picture in answer["pictures"]]  # the axis points down
    assert list(map(float, heights[1:])) == pytest.approx(tumour)
    browser.size(*PHONE)
    assert_narrow(browser)
    browser.screenshot("volume_phone.png")


def test_the_files_of_a_series_are_one_volume_chosen_or_dropped(address, browser, series, files):
    browser.size(*DESKTOP)
    browser.open(address)

    browser.choose(*sorted(series.iterdir()), files[0])

    browser.wait_for("7 files done.")
    expected = [["a.dcm and 5 more", "glioma"], ["slice of a head.png", "notumor"]]
    assert [row[:2] for row in browser.table()] == expected
    assert "Tumour in 3 slices, 2 to 4: 50.0 % of the head, 12 mm." in browser.wait_for("whole volume")
    browser.drop(series)
    browser.wait_for("6 files done.")
    assert len(browser.table()) == 3
    assert browser.table()[2][1:] == browser.table()[0][1:]


def test_the_table_sorts_and_is_saved_as_the_command_and_the_api_tell_it(
    address, model, browser, files, volume, tmp_path, monkeypatch, capsys
):
    browser.size(*DESKTOP)
    browser.open(address)
    browser.choose(*files, volume)
    browser.wait_for("4 files done, 1 could not be read.")
    names = ["slice of a head.png", "chessboard.png", "<b>bad<b>.png", "head.nii.gz"]
    assert [row[0] for row in browser.table()] == names

    def sorted_by(column):
        browser.click(f"#table th:nth-child({column}) button")
        return [row[0] for row in browser.table()]

    assert sorted_by(1) == [names[2], names[1], names[3], names[0]]
    assert browser.script("return document.querySelector('#table th').getAttribute('aria-sort')") == "ascending"
    assert sorted_by(1) == [names[0], names[3], names[1], names[2]]
    probabilities = [float(row[2].split()[0]) for row in browser.table()[:2]]
    assert sorted_by(3)[:2] == [name for _, name in sorted(zip(probabilities, (names[0], names[3]), strict=True))]
    assert browser.script("return document.querySelectorAll('[aria-sort]').length") == 1

    monkeypatch.chdir(tmp_path)
    cli.main(["predict", "--csv", "--model", str(model), *(file.name for file in (*files, volume))])
    assert browser.download("#csv", tmp_path) == capsys.readouterr().out
    saved = json.loads(browser.download("#json", tmp_path))
    assert [entry.pop("file") for entry in saved] == names
    assert "cannot be read" in saved.pop(2)["error"]
    for entry, path in zip(saved, (*files[:2], volume), strict=True):
        answer = ask(address, path)
        for part in (*answer["pictures"], answer["volume"]):
            if part:
                del part["picture"], part["heat_map"]
        assert entry == answer


def test_an_example_to_try_and_a_set_of_two_classes(tmp_path, browser):
    dim = tmp_path / "between two classes.png"
    Image.fromarray(np.full((40, 50), 76, np.uint8)).save(dim)
    with serving(write_tiny_model(tmp_path / "strict.onnx", threshold=0.3)) as address:
        browser.open(address)
        browser.click("#example")
        assert "example.png" in browser.wait_for("1 file done.")
        assert browser.script("return document.querySelector('#grey').naturalWidth") == 32
        browser.choose(dim)
        browser.wait_for("Cannot be ruled out at 95 %: glioma, meningioma")
        assert browser.table()[1][3] == "glioma, meningioma"


def test_the_keyboard_is_enough(address, browser, volume):
    browser.size(*DESKTOP)
    browser.open(address)

    def next_stop():
        browser.press(TAB)
        return browser.script("return document.activeElement.id || document.activeElement.textContent")

    assert next_stop() == "files"
    browser.screenshot("focus.png")
    assert next_stop() == "example"
    browser.choose(volume)
    browser.wait_for("1 file done.")
    columns = ["File", "Class", "Probability", "Possible at 95 %", "Tumour slices"]
    assert [next_stop() for _ in columns] == columns
    assert [next_stop() for _ in range(5)] == ["head.nii.gz", "csv", "json", "slice", "strength"]

    heat = "return Number(document.querySelector('#heat').style.opacity)"
    before = browser.script(heat)
    browser.press(LEFT, times=30)
    assert before - browser.script(heat) == pytest.approx(0.3)
    assert browser.script("return document.querySelector('[role=status]').textContent") == "1 file done."
    assert browser.script("return [...document.images].every(image => image.alt)")
    controls = "[...document.querySelectorAll('input, meter, progress, svg')]"
    assert browser.script(f"return {controls}.every(control => control.labels?.length || control.ariaLabel)")


def test_dark_where_the_system_is(address, browser, volume):
    browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.size(*PHONE)
    browser.open(address)
    browser.choose(volume)
    browser.wait_for("1 file done.")
    assert browser.script("return getComputedStyle(document.body).color") == "rgb(255, 255, 255)"
    assert_narrow(browser)
    browser.script("document.querySelector('#viewer').scrollIntoView()")
    browser.screenshot("dark.png")
