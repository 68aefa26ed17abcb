"""`brain-tumor serve`: a page and a JSON API. Nothing that is sent is stored."""

import argparse
import asyncio
import base64
import functools
import io
import ipaddress
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from PIL import Image
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from brain_tumor.data.catalog import evenly_spaced
from brain_tumor.data.formats.pixels import Picture
from brain_tumor.data.images import Pixels
from brain_tumor.errors import UserError
from brain_tumor.explanation.heat import upsample
from brain_tumor.figures.maps import layer
from brain_tumor.serving.batching import Batcher, Busy
from brain_tumor.serving.connections import Full, Patience, Room
from brain_tumor.serving.decoders import Decoders
from brain_tumor.serving.predict import NO_DIAGNOSIS
from brain_tumor.serving.predictor import Extent, Prediction, Predictor
from brain_tumor.serving.released import add_model_argument

MAX_UPLOAD = 64_000_000
"""Bytes of a request."""

UPLOAD_SECONDS = 30
"""A request that has not come in whole by then is dropped."""

SHOWN = 256
"""So many pictures of a file, evenly spaced, come with what is seen in them: about 30 kB each."""

CONNECTIONS = 256

HELD = 4 * MAX_UPLOAD
"""Bytes of the uploads of all clients together; a request beyond that is told to come again."""

GRACE_SECONDS = 2
"""Requests that are not answered so long after the server is told to end are dropped."""

LOOPBACK = "127.0.0.1"

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

PAGE = {
    "/": ("serve.html", "text/html"),
    "/serve.js": ("serve.js", "text/javascript"),
    "/viewer.js": ("viewer.js", "text/javascript"),
    "/download.js": ("download.js", "text/javascript"),
    "/serve.css": ("serve.css", "text/css"),
    "/example.png": ("example.png", "image/png"),
}
"""Addresses of the page and what it loads, with their files in `templates/` and the types of these."""


class PictureAnswer(BaseModel):
    """The answer for a picture, a slice, or a volume, which has an `extent` where it shows a tumour.

    `picture` is what the model saw, `heat_map` where it speaks for the class, transparent elsewhere; both are PNG in
    base64, and null where no pictures were asked for.
    """

    slice: int | None = None
    volume_number: int | None = None
    label: str
    probability: float
    probabilities: dict[str, float]
    prediction_set: list[str] | None
    in_distribution: bool
    reason: str | None
    ood_score: float
    extent: Extent | None = None
    picture: str | None = None
    heat_map: str | None = None


class FileAnswer(BaseModel):
    """The answers for a file: one a picture in it, and one a volume of several slices.

    `volume` is that of a file of one volume; where there are several they are in `volumes`.
    """

    pictures: list[PictureAnswer]
    volume: PictureAnswer | None = None
    volumes: list[PictureAnswer] = []
    note: str = NO_DIAGNOSIS


class HealthAnswer(BaseModel):
    """That requests are answered."""

    status: Literal["ok"] = "ok"


class ModelAnswer(BaseModel):
    """What is served."""

    classes: tuple[str, ...]
    precision: str
    note: str = NO_DIAGNOSIS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `brain-tumor serve`."""
    parser.epilog = "Nothing that is sent is stored. There is no login: whoever reaches the address can use it."
    parser.add_argument(
        "--host", default=LOOPBACK, help="address to listen on (default: %(default)s, this machine only)"
    )
    parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0: any (default: %(default)s)")
    parser.add_argument(
        "--root-path", default="", metavar="PATH", help="path below which a proxy shows the page, such as /brain-tumor"
    )
    add_model_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted; returns the exit status."""
    # uvicorn ends what it serves and sends itself the signal again: ended by it Python would not clear away its files.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    root_path = "/" + args.root_path.strip("/") if args.root_path.strip("/") else ""
    with listening(args.host, args.port) as listener:
        app = create_app(Predictor(args.model), host=args.host, root_path=root_path)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=GRACE_SECONDS,
            http=Patience,
        )
        host, port = listener.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}{root_path}/"
        print(f"{address}  {NO_DIAGNOSIS}  Ctrl-C ends it.", flush=True)
        uvicorn.Server(config).run([listener])
    return 0


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens on the first address of a host, of IPv4 where it has both.

    Raises:
        UserError: no port, no such host, or the port is another program's.
    """
    if not 0 <= port < 2**16:
        raise UserError(f"--port {port}: expected 0 to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return socket.create_server(address, family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--host {host} --port {port}: {reason}: choose another") from None


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def create_app(
    predictor: Predictor, *, host: str = LOOPBACK, root_path: str = "", upload_seconds: float = UPLOAD_SECONDS
) -> FastAPI:
    """The application.

    Args:
        predictor: a model, used by this application alone.
        host: that is listened on, see `is_own_host`.
        root_path: the path that it is served below, where a proxy has others beside it.
        upload_seconds: see `UPLOAD_SECONDS`.
    """
    batcher, decoders = Batcher(predictor), Decoders(predictor.exported.reader)
    room = Room(HELD)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with batcher, decoders:
            yield

    # The documentation pages that FastAPI has built in load scripts from elsewhere.
    app = FastAPI(
        title="brain-tumor",
        description=NO_DIAGNOSIS,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        exception_handlers={Exception: _defect},
    )

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        request.scope["root_path"] = root_path
        sent_to = request.headers.get("host", "")
        if not is_own_host(sent_to, host):
            response: Response = JSONResponse({"detail": "no name of this server: use its address"}, 400)
        elif request.method == "POST" and is_from_elsewhere(request.headers, sent_to):
            response = JSONResponse({"detail": "sent by the page of another site"}, 403)
        else:
            response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    for address, (name, kind) in PAGE.items():
        app.add_route(address, _page_file(name, kind), ["GET", "HEAD"], include_in_schema=False)

    @app.head("/api/health", include_in_schema=False)
    @app.get("/api/health")
    async def health() -> HealthAnswer:
        """Whether requests are answered."""
        return HealthAnswer()

    @app.head("/api/model", include_in_schema=False)
    @app.get("/api/model")
    async def model() -> ModelAnswer:
        """What is served."""
        return ModelAnswer(classes=predictor.exported.classes, precision=predictor.exported.precision)

    @app.post("/api/predict", openapi_extra=BODY, responses=ERRORS)
    async def predict(
        request: Request, images: bool = Query(False, description="send pictures and heat maps too")
    ) -> FileAnswer:
        """Predict one file, sent as the body or in a form: JPEG, PNG, TIFF, BMP, WebP, DICOM or NIfTI.

        A form may have several files where all are DICOM: the slices of a series are read as one volume.
        """
        try:
            with room.held() as take:
                content = await _body(request, upload_seconds, take)
                prepared = await decoders.read(content, request.headers.get("content-type", ""))
            del content
            predictions = await batcher.predict(prepared)
        except UserError as error:
            raise HTTPException(422, f"{error}") from None
        except (Busy, Full):
            raise HTTPException(503, "too many requests wait: try again later") from None
        return await asyncio.to_thread(_answer, predictor, prepared, predictions, images)

    return app


def _page_file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    content = files("brain_tumor.serving").joinpath("templates", name).read_bytes()

    async def endpoint(_: Request) -> Response:
        return Response(content, media_type=kind)

    return endpoint


def is_own_host(header: str, host: str) -> bool:
    """Whether a request names this server, so that no page from elsewhere that has its own name point here can use it.

    Args:
        header: `Host` of the request.
        host: that is listened on. One of this machine alone is reached by `localhost` and its addresses; another by
            any address too, by `host` itself, and by the names that the machine knows of itself.
    """
    try:
        name = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or is_loopback(name):
        return True
    return not is_loopback(host) and (_is_address(name) or name in {host.lower(), *_machine_names()})


@functools.cache
def _machine_names() -> frozenset[str]:
    return frozenset(name.lower() for name in (socket.gethostname(), socket.getfqdn()))


def is_from_elsewhere(headers: Headers, host: str) -> bool:
    """Whether the page of another site sent a request, as far as its browser tells.

    Source: Valsorda, Cross-Site Request Forgery, 2025, and Go's `http.CrossOriginProtection`: `Sec-Fetch-Site` where
    there is one, which is right behind a proxy too, else `Origin` against `Host`.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and origin.partition("://")[2] != host


async def _defect(_: Request, __: Exception) -> Response:
    """Starlette logs the traceback of what was raised."""
    return JSONResponse({"detail": "a defect of the server: see its log"}, 500, HEADERS)


FILE = {"type": "string", "format": "binary"}

FILES = {"oneOf": [FILE, {"type": "array", "items": FILE}]}

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": FILE},
            "multipart/form-data": {"schema": {"type": "object", "properties": {"file": FILES}, "required": ["file"]}},
        },
    }
}

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "the request names another server, or broke off"},
    403: {"description": "the page of another site sent the request"},
    408: {"description": "the request did not come in whole in time"},
    413: {"description": "the file is too large"},
    422: {"description": "the file cannot be read, or not with so much time and memory"},
    503: {"description": "too many requests wait"},
}


async def _body(request: Request, seconds: float, take: Callable[[int], None]) -> bytearray:
    """The body, with limits of size and time; it is never written to a file.

    Raises:
        HTTPException: too large, too slow, or cut off.
        Full: all clients together have sent more than is held.
    """
    too_large = HTTPException(
        413, f"more than {MAX_UPLOAD:,} bytes in one request: `brain-tumor predict` reads larger ones"
    )
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
    volumes = [_picture_answer(volume) for volume in predictor.volumes(predictions)]
    if predictions[0].volume is None:
        return FileAnswer(pictures=pictures, volume=volumes[0] if volumes else None)
    return FileAnswer(pictures=pictures, volumes=volumes)


def _picture_answer(prediction: Prediction) -> PictureAnswer:
    values: dict[str, Any] = prediction.as_json()
    return PictureAnswer(slice=prediction.frame, volume_number=prediction.volume, label=values.pop("class"), **values)


def _png(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
