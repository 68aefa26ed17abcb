import asyncio
import base64
import io
import re
import socket
from importlib.resources import files

import numpy as np
import pytest
from fastapi.testclient import TestClient
from made import dicom, nifti
from PIL import Image
from serving.tiny import CENTRES, tiny_probabilities, tiny_series, tiny_volume, write_tiny_model

from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.formats.pixels import Picture
from brain_tumor.download.phantom.plan import plan_phantom
from brain_tumor.download.phantom.slice import draw_slice
from brain_tumor.serving import web
from brain_tumor.serving.batching import Batcher
from brain_tumor.serving.predictor import Predictor
from brain_tumor.serving.reading import prepared
from brain_tumor.serving.web import create_app, is_loopback


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model.onnx")


def connected(app):
    return TestClient(app, base_url="http://localhost")


@pytest.fixture(scope="module")
def client(model):
    with connected(create_app(Predictor(model))) as made:
        yield made


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def flat(value):
    return np.full((40, 50), value, np.uint8)


def form(contents):
    return [("file", content) for content in contents]


def test_an_answer_is_the_models_with_picture_and_map(client):
    response = client.post("/api/predict?images=true", content=png(flat(153)))

    (answer,) = response.json()["pictures"]
    assert response.status_code == 200
    assert answer["label"] == "notumor"
    assert list(answer["probabilities"].values()) == pytest.approx(tiny_probabilities(0.6), abs=1e-4)
    assert answer["prediction_set"] == ["notumor"]
    assert answer["in_distribution"]
    assert np.all(np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["picture"])))) == 153)
    heat = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["heat_map"]))))
    assert heat.shape == (32, 32, 4)
    assert heat[..., 3].min() > 150  # the map of a flat picture is hot all over
    assert "diagnosis" in response.json()["note"].lower()


def test_without_images_there_are_none(client):
    (answer,) = client.post("/api/predict", content=png(flat(51))).json()["pictures"]
    assert answer["label"] == "glioma"
    assert answer["picture"] is None


def test_a_header_that_names_no_brain_is_the_reason(client):
    (answer,) = client.post("/api/predict", content=dicom(np.eye(9, dtype=np.uint16), BodyPartExamined="KNEE")).json()[
        "pictures"
    ]
    assert not answer["in_distribution"]
    assert answer["reason"] == "its header says body part KNEE"


def test_each_volume_of_a_file_has_an_answer(client):
    values = np.zeros((9, 9, 3, 2), np.int16)

    ill = client.post("/api/predict", content=nifti(tiny_volume(0.6, 0.2, 0.2, 0.2), (1, 1, 3))).json()
    extent = {"slices": [1, 2, 3], "first": 1, "last": 3, "share": 0.75, "millimetres": 9}
    assert (ill["volume"]["label"], ill["volume"]["extent"]) == ("glioma", extent)

    one = client.post("/api/predict", content=nifti(values[..., 0])).json()
    assert one["volume"]["volume_number"] is None
    assert one["volumes"] == []

    two = client.post("/api/predict", content=nifti(values)).json()
    assert two["volume"] is None
    assert [volume["volume_number"] for volume in two["volumes"]] == [0, 1]
    places = [(row["volume_number"], row["slice"]) for row in two["pictures"]]
    assert places == [(v, s) for v in (0, 1) for s in range(3)]


def test_the_files_of_a_series_are_one_volume_in_any_order(client):
    first, second, third, fourth = tiny_series(0.6, 0.2, 0.2, 0.2)

    answer = client.post("/api/predict", files=form([third, first, fourth, second])).json()

    assert [picture["slice"] for picture in answer["pictures"]] == [0, 1, 2, 3]
    assert [picture["label"] for picture in answer["pictures"]] == ["notumor", "glioma", "glioma", "glioma"]
    extent = {"slices": [1, 2, 3], "first": 1, "last": 3, "share": 0.75, "millimetres": 12}
    assert (answer["volume"]["label"], answer["volume"]["extent"]) == ("glioma", extent)
    assert answer["volumes"] == []


def test_series_and_what_stands_alone_are_told_apart(client):
    ill, healthy = tiny_series(0.2, 0.2), tiny_series(0.6, 0.6, 0.6, SeriesInstanceUID="1.2.4")
    (localizer,) = tiny_series(0.6, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    frames = dicom(np.full((2, 20, 20), 7, np.uint16), SeriesInstanceUID="1.2.3")

    answer = client.post("/api/predict", files=form([ill[0], *healthy, localizer, ill[1], frames])).json()

    assert answer["volume"] is None
    assert [(one["volume_number"], one["label"]) for one in answer["volumes"][:2]] == [(0, "glioma"), (1, "notumor")]
    assert [one["volume_number"] for one in answer["volumes"]] == [0, 1, 3]
    places = [(one["volume_number"], one["slice"]) for one in answer["pictures"]]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, None), (3, 0), (3, 1)]


@pytest.mark.parametrize(
    ("broken", "reason"), [(png(flat(51)), "no DICOM file"), (tiny_series(0.2)[0][:-20], "cannot be read")]
)
def test_a_file_that_spoils_a_series_is_told_by_its_number(client, broken, reason):
    first, _, third = tiny_series(0.2, 0.2, 0.2)
    response = client.post("/api/predict", files=form([first, broken, third]))
    assert response.status_code == 422
    assert response.json()["detail"].startswith("file 2 of 3 ")
    assert reason in response.json()["detail"]


def test_of_a_large_volume_only_some_slices_come_with_pictures(client, monkeypatch):
    monkeypatch.setattr(web, "SHOWN", 3)
    content = nifti(tiny_volume(*[0.2] * 9), (1, 1, 3))
    pictures = client.post("/api/predict?images=true", content=content).json()["pictures"]
    assert [one["slice"] for one in pictures if one["picture"]] == [0, 4, 8]
    assert [one["slice"] for one in pictures if one["heat_map"]] == [0, 4, 8]


def test_where_no_class_is_likely_enough_the_prediction_set_has_the_two_most_probable(tmp_path):
    model = write_tiny_model(tmp_path / "model.onnx", threshold=0.3)
    with connected(create_app(Predictor(model))) as strict:
        (answer,) = strict.post("/api/predict", content=png(flat(76))).json()["pictures"]  # between two centres
    assert answer["in_distribution"]
    assert answer["prediction_set"] == ["glioma", "meningioma"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"no picture at all", "cannot be read"),
        (png(np.random.default_rng(0).integers(0, 256, (64, 64)))[:900], "cannot be read"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 64, "without pixels"),
        (b"\x1f\x8b\x08\x00", "cannot be read"),
    ],
)
def test_bad_input_is_4xx_with_a_sentence(client, content, reason):
    response = client.post("/api/predict", content=content)

    assert response.status_code == 422
    assert reason in response.json()["detail"]
    assert "\n" not in response.json()["detail"]


def test_too_large_is_refused_declared_or_not(client, monkeypatch):
    monkeypatch.setattr(web, "MAX_UPLOAD", 10_000)

    def chunks():
        yield from [b"x" * 1000] * 20

    for content in (b"x" * 10_001, chunks()):
        response = client.post("/api/predict", content=content)
        assert response.status_code == 413
        assert "more than 10,000 bytes in one request" in response.json()["detail"]


def test_uploads_that_together_take_too_much_room_are_told_to_come_again(client, model, monkeypatch):
    monkeypatch.setattr(web, "HELD", 300)
    content = png(np.random.default_rng(0).integers(0, 256, (40, 50)))
    assert len(content) > 300
    with connected(create_app(Predictor(model))) as crowded:
        assert crowded.post("/api/predict", content=content).status_code == 503
        assert crowded.post("/api/predict", content=b"none").status_code == 422  # the room was given back
    assert client.post("/api/predict", content=content).status_code == 200


def test_a_client_that_stalls_gets_408(model):
    app = create_app(Predictor(model), upload_seconds=0.05)
    sent = []

    async def receive():
        await asyncio.sleep(30)

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/predict",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "http_version": "1.1",
    }
    asyncio.run(asyncio.wait_for(app(scope, receive, send), 10))

    assert sent[0]["status"] == 408


LOCAL = ["localhost", "localhost:8000", "LOCALHOST", "127.0.0.1:1", "[::1]", "[::1]:8000"]
ANY_ADDRESS = ["192.0.2.7", "192.0.2.7:80", "[2001:db8::1]:80"]
FOREIGN = ["evil.example", "testserver", "localhost.evil.example", "127.0.0.1.evil.example", "", "[", "[evil.example]"]


def test_only_names_of_this_machine_are_answered(client, model):
    def status(to, host):
        return to.get("/api/model", headers={"host": host}).status_code

    assert {status(client, host) for host in LOCAL} == {200}
    assert {status(client, host) for host in ANY_ADDRESS + FOREIGN} == {400}
    with connected(create_app(Predictor(model), host="Scanner.example")) as open_client:
        own = ["scanner.example:8000", socket.gethostname()]
        assert {status(open_client, host) for host in LOCAL + ANY_ADDRESS + own} == {200}
        assert {status(open_client, host) for host in FOREIGN} == {400}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.3.2.1"])
def test_loopback(host):
    assert is_loopback(host)
    assert not is_loopback(f"x{host}")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # no browser
        ({"origin": "http://localhost"}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "http://localhost"}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "https://proxy.example"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost:8000"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost.evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "http://localhost"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "http://localhost"}, 403),
    ],
)
def test_no_page_of_another_site_can_post(client, headers, status):
    content = png(flat(51))
    response = client.post("/api/predict", content=content, headers=headers)
    assert response.status_code == status
    assert response.headers["x-content-type-options"] == "nosniff"
    form = client.post("/api/predict", files={"file": content}, headers=headers)
    assert form.status_code == status
    assert client.get("/", headers=headers).status_code == 200  # links may lead here


@pytest.mark.parametrize("path", [*web.PAGE, "/api/health", "/api/model", "/openapi.json"])
def test_head_is_answered_as_get_is(client, path):
    head, get = client.head(path), client.get(path)
    assert head.status_code == get.status_code == 200
    assert head.headers["content-type"] == get.headers["content-type"]


def test_health(client):
    assert client.get("/api/health").json() == {"status": "ok"}


def test_a_file_in_a_form_gives_what_it_gives_as_the_body(client):
    content = png(flat(153))
    expected = client.post("/api/predict", content=content).json()
    for form in ({"file": content}, {"any name": ("some/name\n.png", content, "image/png")}):
        assert client.post("/api/predict", files=form).json() == expected
    large = io.BytesIO()  # more than python-multipart keeps in memory unless told to
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1200, 1200), dtype=np.uint8)).save(large, "PNG")
    assert client.post("/api/predict", files={"file": large.getvalue()}).status_code == 200


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ({"data": {"file": "text"}, "files": {}, "headers": {"content-type": "multipart/form-data"}}, "form"),
        ({"files": [("file", b"a"), ("file", b"b")]}, "file 1 of 2 is no DICOM"),
        ({"files": {"file": (None, "a field")}}, "the form has no file"),
        ({"files": {"file": b""}}, "is empty"),
        ({"files": {"file": b"no picture"}}, "cannot be read"),
        ({"content": b"--x\r\nbroken", "headers": {"content-type": "multipart/form-data; boundary=x"}}, "form"),
        ({"content": b"", "headers": {"content-type": "multipart/form-data; boundary=x"}}, "form"),
    ],
)
def test_a_form_that_is_none_is_422(client, sent, reason):
    response = client.post("/api/predict", **sent)
    assert response.status_code == 422
    assert reason in response.json()["detail"]


@pytest.mark.parametrize("root_path", ["/tumor", "/deep/er"])
def test_below_a_path_pages_and_addresses_are_right(model, root_path):
    with connected(create_app(Predictor(model), root_path=root_path)) as made:
        for prefix in ("", root_path):  # proxies that cut the path off, and those that do not
            assert "This is no diagnosis" in made.get(f"{prefix}/").text
            assert made.post(f"{prefix}/api/predict", content=png(flat(51))).status_code == 200
        assert made.get(root_path, follow_redirects=True).url.path == f"{root_path}/"
        assert made.get("/openapi.json").json()["servers"] == [{"url": root_path}]
    page, script = made.get("/").text, made.get("/serve.js").text
    assert 'fetch("api/predict' in script
    assert not re.search(r"""(?:src|href|action)=["']?/|(?:from|fetch\() *["']/""", page + script)


def test_a_defect_is_500_with_the_headers_of_all_answers(model, monkeypatch):
    monkeypatch.setattr(web, "_answer", lambda *_: 1 / 0)
    with TestClient(create_app(Predictor(model)), "http://localhost", raise_server_exceptions=False) as made:
        response = made.post("/api/predict", content=png(flat(51)))
    assert response.status_code == 500
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "Error" not in response.text


def test_page_and_description_need_nothing_from_elsewhere(client):
    page = client.get("/")
    assert "This is no diagnosis" in page.text
    for address, (_, kind) in web.PAGE.items():
        response = client.get(address)
        assert response.headers["content-type"].startswith(kind)
        assert b"http://" not in response.content
        assert b"https://" not in response.content
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert not re.search(r"<style|\bstyle=|\bon\w+=|<script(?! src=)", page.text)  # the policy forbids it
    assert client.get("/docs").status_code == 404

    operation = client.get("/openapi.json").json()["paths"]["/api/predict"]["post"]
    assert "application/octet-stream" in operation["requestBody"]["content"]
    assert {"200", "408", "413", "422", "503"} <= set(operation["responses"])
    assert client.get("/api/model").json()["classes"] == list(CLASSES)


def test_the_page_has_all_files_that_are_installed_for_it():
    folder = files("brain_tumor.serving").joinpath("templates")
    assert {file.name for file in folder.iterdir()} == {name for name, _ in web.PAGE.values()}


def test_the_example_is_a_slice_of_the_phantom_and_of_nobody(client):
    content = client.get("/example.png").content
    file = next(file for file in plan_phantom(1, 16, clean=True) if file.place == (8, 0, 1))
    drawn = Image.fromarray(draw_slice(file, 1)[0])
    drawn.thumbnail((200, 200), Image.Resampling.LANCZOS)

    shown = Image.open(io.BytesIO(content))

    assert len(content) < 25_000
    assert shown.info == {}
    assert shown.size == drawn.size
    assert np.abs(np.asarray(shown, float) - np.asarray(drawn, float)).mean() < 1


def test_requests_that_come_together_are_one_batch_and_get_their_own_answers(model):
    predictor = Predictor(model)
    pictures = [prepared(predictor.exported.reader, Picture(flat(round(centre * 255)))) for centre in CENTRES]
    sizes = []
    engine_run = predictor.engine.run

    def run(images):
        sizes.append(len(images))
        return engine_run(images)

    predictor.engine.run = run

    async def together():
        async with Batcher(predictor) as batcher:
            return await asyncio.gather(*(batcher.predict([picture]) for picture in pictures))

    answers = asyncio.run(together())

    assert [answer[0].label for answer in answers] == list(CLASSES)
    assert sizes == [4]


def test_a_large_volume_lets_other_requests_pass(model):
    predictor = Predictor(model)
    reader = predictor.exported.reader
    slices, picture = [prepared(reader, Picture(flat(51)))] * 80, prepared(reader, Picture(flat(153)))
    done = []

    async def ask(batcher, name, pictures):
        answers = await batcher.predict(pictures)
        done.append((name, len(answers), answers[0].label))

    async def together():
        async with Batcher(predictor) as batcher:
            await asyncio.gather(ask(batcher, "volume", slices), ask(batcher, "picture", [picture]))

    asyncio.run(together())

    assert done == [("picture", 1, "notumor"), ("volume", 80, "glioma")]


def test_a_defect_fails_its_requests_and_the_next_ones_go_on(model):
    predictor = Predictor(model)
    picture = prepared(predictor.exported.reader, Picture(flat(51)))
    good = predictor.predict
    calls = []

    def once_bad(pictures):
        calls.append(len(pictures))
        if len(calls) == 1:
            raise ZeroDivisionError
        return good(pictures)

    predictor.predict = once_bad

    async def two():
        async with Batcher(predictor) as batcher:
            with pytest.raises(ZeroDivisionError):
                await batcher.predict([picture])
            return await batcher.predict([picture])

    assert asyncio.run(two())[0].label == "glioma"
