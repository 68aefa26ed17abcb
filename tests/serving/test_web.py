import asyncio
import base64
import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serving.tiny import CENTRES, tiny_probabilities, write_tiny_model

from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.images import Reader
from brain_tumor.serving import web
from brain_tumor.serving.batching import Batcher
from brain_tumor.serving.inputs import Picture
from brain_tumor.serving.predictor import Predictor
from brain_tumor.serving.reading import prepared
from brain_tumor.serving.web import create_app, is_loopback


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model.onnx")


@pytest.fixture
def client(model):
    with TestClient(create_app(Predictor(model))) as made:
        yield made


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def flat(value):
    return np.full((40, 50), value, np.uint8)


def test_an_answer_is_the_models_with_picture_and_map(client):
    response = client.post("/api/predict?images=true", content=png(flat(153)))

    (answer,) = response.json()["pictures"]
    assert response.status_code == 200
    assert answer["label"] == "notumor"
    assert list(answer["probabilities"].values()) == pytest.approx(tiny_probabilities(0.6), abs=1e-4)
    assert answer["prediction_set"] == ["notumor"]
    assert answer["like_training_images"]
    assert np.all(np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["picture"])))) == 153)
    heat = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["heat_map"]))))
    assert heat.shape == (32, 32, 4)
    assert heat[..., 3].min() > 150  # the map of a flat picture is hot all over
    assert "diagnosis" in response.json()["note"].lower()


def test_without_images_there_are_none(client):
    (answer,) = client.post("/api/predict", content=png(flat(51))).json()["pictures"]
    assert answer["label"] == "glioma"
    assert answer["picture"] is None


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
        assert "larger than" in response.json()["detail"]


def test_uploads_that_together_take_too_much_room_are_told_to_come_again(client, model, monkeypatch):
    monkeypatch.setattr(web, "HELD", 300)
    content = png(np.random.default_rng(0).integers(0, 256, (40, 50)))
    assert len(content) > 300
    with TestClient(create_app(Predictor(model))) as crowded:
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


def test_other_hosts_are_refused_where_the_server_is_for_this_machine(client, model):
    assert client.get("/api/model", headers={"host": "evil.example"}).status_code == 400
    with TestClient(create_app(Predictor(model), loopback=False)) as open_client:
        assert open_client.get("/api/model", headers={"host": "scanner.example"}).status_code == 200
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")


def test_page_and_description_need_nothing_from_elsewhere(client):
    page = client.get("/")
    assert "This is no diagnosis" in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert client.get("/docs").status_code == 404

    operation = client.get("/openapi.json").json()["paths"]["/api/predict"]["post"]
    assert "application/octet-stream" in operation["requestBody"]["content"]
    assert {"200", "408", "413", "422", "503"} <= set(operation["responses"])
    assert client.get("/api/model").json()["classes"] == list(CLASSES)


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


def test_a_picture_that_cannot_be_prepared_is_422(tmp_path):
    reader = Reader(size=32, crop="head", intensities="head", background="black")
    with TestClient(create_app(Predictor(write_tiny_model(tmp_path / "model.onnx", reader)))) as made:
        response = made.post("/api/predict", content=png(np.ones((1, 512))))
    assert response.status_code == 422
    assert "cannot be prepared" in response.json()["detail"]
    assert response.headers["x-content-type-options"] == "nosniff"
