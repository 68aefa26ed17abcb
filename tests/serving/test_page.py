"""The page in headless Chromium: a script that is added to it hands over files as a person would."""

import base64
import io
import shutil
import subprocess
import threading
import time

import numpy as np
import pytest
import uvicorn
from fastapi.responses import HTMLResponse
from PIL import Image
from serving.tiny import write_tiny_model

from brain_tumor.serving import web
from brain_tumor.serving.predictor import Predictor

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def address(tmp_path):
    """A running server whose /test is the page with two files dropped on it: a picture, and one that is none."""
    app = web.create_app(Predictor(write_tiny_model(tmp_path / "model.onnx")))
    buffer = io.BytesIO()
    Image.fromarray(np.full((40, 50), 153, np.uint8)).save(buffer, "PNG")
    content = base64.b64encode(buffer.getvalue()).decode()

    @app.get("/test")
    async def test() -> HTMLResponse:
        page = next(route for route in app.routes if getattr(route, "path", "") == "/")
        html = (await page.endpoint()).body.decode()
        script = (
            f"const bytes = Uint8Array.from(atob('{content}'), c => c.charCodeAt(0));"
            "const files = new DataTransfer();"
            "files.items.add(new File([bytes], 'good.png'));"
            "files.items.add(new File(['none'], '<b>bad</b>.png'));"
            "chooser.files = files.files; chooser.dispatchEvent(new Event('change'));"
        )
        return HTMLResponse(html.replace("</html>", f"<script>{script}</script></html>"))

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/test"
    server.should_exit = True
    thread.join()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_picture_and_a_bad_file(address, tmp_path):
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [CHROMIUM, *options, "--virtual-time-budget=20000", "--dump-dom", address],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert "notumor, 99.9 %" in done.stdout
    assert "Cannot be ruled out at 95 %: notumor" in done.stdout
    assert 'alt="Heat map: places that speak for notumor"' in done.stdout
    assert "opacity: 0.6" in done.stdout
    assert "cannot be read" in done.stdout
    assert "&lt;b&gt;bad&lt;/b&gt;.png" in done.stdout  # a file name is text, never markup
    assert "2 files done, 1 could not be read." in done.stdout
