"""`brain-tumor serve`: a page and a JSON API. Nothing that is sent is stored."""

import argparse
import asyncio
import base64
import io
import ipaddress
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse
from PIL import Image
from pydantic import BaseModel
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from brain_tumor.data.catalog import evenly_spaced
from brain_tumor.data.images import Pixels
from brain_tumor.errors import UserError
from brain_tumor.explanation.heat import upsample
from brain_tumor.figures.maps import layer
from brain_tumor.serving.batching import Batcher, Busy
from brain_tumor.serving.connections import Full, Patience, Room
from brain_tumor.serving.inputs import Picture
from brain_tumor.serving.predict import NO_DIAGNOSIS
from brain_tumor.serving.predictor import Prediction, Predictor
from brain_tumor.serving.reading import read
from brain_tumor.serving.released import add_model_argument

MAX_UPLOAD = 64_000_000
"""Bytes of a request."""

UPLOAD_SECONDS = 30
"""A request that has not come in whole by then is dropped."""

SHOWN = 24
"""Of a volume so many slices, evenly spaced, come with pictures."""

CONNECTIONS = 256

HELD = 4 * MAX_UPLOAD
"""Bytes of the uploads of all clients together; a request beyond that is told to come again."""

DECODED = 2**28
"""Bytes of a volume once unpacked in single precision: 256 slices of 512 x 512. `predict` reads larger ones."""

DECODING = 4
"""So many files are decoded at a time, or fewer on a smaller machine: memory is bounded by this and `DECODED`."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PictureAnswer(BaseModel):
    """The answer for a picture, a slice, or a volume.

    `picture` is what the model saw, `heat_map` where it speaks for the class, transparent elsewhere; both are PNG in
    base64, and null where no pictures were asked for.
    """

    slice: int | None = None
    label: str
    probability: float
    probabilities: dict[str, float]
    prediction_set: list[str] | None
    like_training_images: bool
    reason: str | None
    novelty: float
    picture: str | None = None
    heat_map: str | None = None


class FileAnswer(BaseModel):
    """The answers for a file: one a picture in it, and one for the volume where there are several."""

    pictures: list[PictureAnswer]
    volume: PictureAnswer | None = None
    note: str = NO_DIAGNOSIS


class ModelAnswer(BaseModel):
    """What is served."""

    classes: tuple[str, ...]
    precision: str
    note: str = NO_DIAGNOSIS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `brain-tumor serve`."""
    parser.epilog = "Nothing that is sent is stored. There is no login: whoever reaches the address can use it."
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)"
    )
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
    add_model_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted; returns the exit status."""
    app = create_app(Predictor(args.model), loopback=is_loopback(args.host))
    print(f"http://{args.host}:{args.port}  {NO_DIAGNOSIS}  Ctrl-C ends it.")
    uvicorn.run(
        app,
        host=args.host,
        port=args.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        http=Patience,
    )
    return 0


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def create_app(predictor: Predictor, *, loopback: bool = True, upload_seconds: float = UPLOAD_SECONDS) -> FastAPI:
    """The application.

    Args:
        predictor: a model, used by this application alone.
        loopback: answer only requests that name this machine, so that no page from elsewhere that lets its own name
            point here can use it.
        upload_seconds: see `UPLOAD_SECONDS`.
    """
    batcher = Batcher(predictor)
    decoding = asyncio.Semaphore(min(os.cpu_count() or 1, DECODING))
    room = Room(HELD)
    page = files("brain_tumor.serving").joinpath("templates", "serve.html").read_text(encoding="utf-8")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with batcher:
            yield

    # The documentation pages that FastAPI has built in load scripts from elsewhere.
    app = FastAPI(title="brain-tumor", description=NO_DIAGNOSIS, docs_url=None, redoc_url=None, lifespan=lifespan)
    if loopback:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]", "testserver"])

    @app.middleware("http")
    async def headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/api/model")
    async def model() -> ModelAnswer:
        """What is served."""
        return ModelAnswer(classes=predictor.exported.classes, precision=predictor.exported.precision)

    @app.post("/api/predict", openapi_extra=BODY, responses=ERRORS)
    async def predict(
        request: Request, images: bool = Query(False, description="send pictures and heat maps too")
    ) -> FileAnswer:
        """Predict one file, sent as the body: JPEG, PNG, TIFF, BMP, WebP, DICOM or NIfTI. Its name is not wanted."""
        try:
            with room.held() as take:
                content = await _body(request, upload_seconds, take)
                async with decoding:
                    prepared = await asyncio.to_thread(read, predictor.exported.reader, "the file", content, DECODED)
            del content
            predictions = await batcher.predict(prepared)
        except UserError as error:
            raise HTTPException(422, f"{error}") from None
        except (Busy, Full):
            raise HTTPException(503, "too many requests wait: try again later") from None
        return await asyncio.to_thread(_answer, predictor, prepared, predictions, images)

    return app


BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}

ERRORS: dict[int | str, dict[str, Any]] = {
    408: {"description": "the request did not come in whole in time"},
    413: {"description": "the file is too large"},
    422: {"description": "the file cannot be read"},
    503: {"description": "too many requests wait"},
}


async def _body(request: Request, seconds: float, take: Callable[[int], None]) -> bytearray:
    """The body, with limits of size and time; it is never written to a file.

    Raises:
        HTTPException: too large, too slow, or cut off.
        Full: all clients together have sent more than is held.
    """
    too_large = HTTPException(413, f"the file is larger than {MAX_UPLOAD:,} bytes: send a smaller one")
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > MAX_UPLOAD:
        raise too_large
    content = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                take(len(chunk))
                content += chunk
                if len(content) > MAX_UPLOAD:
                    raise too_large
    except TimeoutError:
        raise HTTPException(408, f"the file did not come in whole within {seconds:g} seconds: send it again") from None
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the file came in whole") from None
    return content


def _answer(
    predictor: Predictor, prepared: Sequence[Picture], predictions: Sequence[Prediction], images: bool
) -> FileAnswer:
    pictures = [_picture_answer(prediction) for prediction in predictions]
    for row in evenly_spaced(len(prepared), SHOWN) if images else ():
        pixels, heat = prepared[row].grey, predictions[row].heat
        pictures[row].picture = _png(pixels)
        if heat is not None:
            pictures[row].heat_map = _png(layer(upsample(heat[None], len(pixels))[0]))
    volume = _picture_answer(predictor.volume(predictions)) if len(predictions) > 1 else None
    return FileAnswer(pictures=pictures, volume=volume)


def _picture_answer(prediction: Prediction) -> PictureAnswer:
    values: dict[str, Any] = prediction.as_json()
    return PictureAnswer(slice=prediction.frame, label=values.pop("class"), **values)


def _png(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
