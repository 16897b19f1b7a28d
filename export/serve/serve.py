"""Answers requests over HTTP: `python serve.py`, settings by environment variables such as SERVE_PORT=8000.

GET /health, /health/live, /health/ready and /metadata; POST /predict with JSON rows, or with images where the model
takes them. Every refusal is `{"error": {"reason": ..., "message": ..., "where": ...}}`.
"""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from inference.errors import BundleError, InputError
from inference.limits import Gate, RefusedError, read_body
from inference.model import Model, read_facts
from inference.replies import FORM, JSON, reply
from inference.settings import Settings
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

log = logging.getLogger("uvicorn.error")


class Service:
    """A model that is being loaded or ready, and the threads that run it.

    Args:
        settings: The limits.

    Raises:
        BundleError: There is no model to load.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.facts = read_facts(settings.folder)
        self.model: Model | None = None
        self.failure: str | None = None
        self.gate = Gate(settings.threads + settings.queue)
        self.pool = ThreadPoolExecutor(settings.threads, "predict")

    def load(self) -> None:
        """Loads the model and lets it answer one row, so that the first request does not wait for what is done once."""
        model = Model(self.settings.folder, self.settings.device, self.settings.threads_of_model)
        row = {each.name: np.zeros([size or 1 for size in each.shape], each.dtype) for each in model.inputs}
        # A graph may refuse the sizes that stand here for those that are open; requests bring their own.
        if all(None not in each.row for each in model.inputs):
            model.run(row)
        self.model = model
        log.info("ready: %s on %s", self.facts["title"], ", ".join(model.providers))

    async def load_in_background(self, stop: Any) -> None:
        """Loads the model while the server already says that it lives; stops the server where that fails."""
        try:
            await asyncio.get_running_loop().run_in_executor(self.pool, self.load)
        except Exception as error:  # noqa: BLE001 - whatever it is, a server without its model is of no use
            self.failure = str(error) or type(error).__name__
            log.error("cannot load the model: %s", self.failure)
            stop()

    def metadata(self) -> dict[str, Any]:
        """Returns `model.json` with what the server adds: the providers that are used, and the limits."""
        limits = {name: getattr(self.settings, name) for name in ("max_rows", "max_bytes", "max_pixels", "queue")}
        facts = {key: value for key, value in self.facts.items() if key != "files"}
        return {**facts, "providers": self.model.providers if self.model else None, "limits": limits}

    async def predict(self, request: Request) -> bytes:
        """Answers one request in a thread of its own, or refuses it."""
        if self.model is None:
            raise RefusedError(503, "not_ready", "the model is being loaded; try again later")
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            # A small body could become a large one.
            raise RefusedError(415, "wrong_encoding", f"{encoding} is not taken; send the body as it is")
        with self.gate.enter():
            body = await read_body(
                request.stream(),
                request.headers.get("content-length"),
                self.settings.max_bytes,
                self.settings.body_seconds,
            )
            invert = request.query_params.get("invert", "false").lower() in ("1", "true", "yes")
            content_type = request.headers.get("content-type", "")
            return await asyncio.get_running_loop().run_in_executor(
                self.pool, reply, self.model, self.settings, body, content_type, invert
            )


def create_app(service: Service, stop: Any = lambda: None) -> FastAPI:
    """Makes the application.

    Args:
        service: What answers.
        stop: Is called where the model cannot be loaded.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(service.load_in_background(stop))
        yield
        await loading
        service.pool.shutdown(wait=True)

    # The interactive pages would fetch their scripts from elsewhere.
    app = FastAPI(title=service.facts["title"], lifespan=lifespan, docs_url=None, redoc_url=None)
    _add_routes(app, service)
    _add_errors(app)
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    @app.get("/health/live")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/health/ready")
    @app.get("/health")
    async def health() -> JSONResponse:
        ready = service.model is not None
        return JSONResponse({"live": True, "ready": ready, "reason": service.failure}, 200 if ready else 503)

    @app.get("/metadata")
    async def metadata() -> dict[str, Any]:
        return service.metadata()

    @app.post("/predict", openapi_extra={"requestBody": _request_body(service.facts)})
    async def predict(request: Request) -> Response:
        return Response(await service.predict(request), media_type=JSON)


def _request_body(facts: dict[str, Any]) -> dict[str, Any]:
    """Describes in OpenAPI's words what `/predict` takes."""
    names = [each["name"] for each in facts["features"]]
    values: dict[str, Any] = {"type": "number"}
    for size in reversed(facts["inputs"][0]["shape"][1:]):
        values = {"type": "array", "items": values, **({"minItems": size, "maxItems": size} if size else {})}
    named = {"type": "object", "required": names, "properties": {name: {"type": "number"} for name in names}}
    row = {"oneOf": [values, named]} if names else values
    rows = {"type": "object", "required": ["rows"], "properties": {"rows": {"type": "array", "items": row}}}
    content: dict[str, Any] = {JSON: {"schema": rows if len(facts["inputs"]) == 1 else {"type": "object"}}}
    if facts["preprocessing"]["image"]:
        file = {"type": "string", "format": "binary"}
        form = {"type": "object", "properties": {"image": {"type": "array", "items": file}}}
        content |= {FORM: {"schema": form}, "image/png": {"schema": file}, "image/jpeg": {"schema": file}}
    return {"required": True, "content": content}


def _add_errors(app: FastAPI) -> None:
    def error(status: int, reason: str, message: str, where: str = "", **headers: str) -> JSONResponse:
        body = {"error": {"reason": reason, "message": message, "where": where}}
        return JSONResponse(body, status, headers)

    @app.exception_handler(InputError)
    async def unusable(_: Request, failure: InputError) -> JSONResponse:
        status = 400 if failure.reason in ("not_json", "not_a_form") else 422
        return error(status, failure.reason, failure.message, failure.where)

    @app.exception_handler(RefusedError)
    async def refused(_: Request, failure: RefusedError) -> JSONResponse:
        headers = {"Retry-After": "1"} if failure.status == 503 else {}
        # What is left of a body that was not read must not be taken for the next request.
        headers |= {"Connection": "close"} if failure.status in (408, 413, 503) else {}
        return error(failure.status, failure.reason, failure.message, **headers)

    @app.exception_handler(ClientDisconnect)
    async def left(_: Request, failure: ClientDisconnect) -> JSONResponse:
        return error(400, "disconnected", "the client left before its body had come")

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, failure: HTTPException) -> JSONResponse:
        reason = {404: "not_found", 405: "wrong_method"}.get(failure.status_code, "refused")
        return error(failure.status_code, reason, failure.detail, **(failure.headers or {}))

    @app.exception_handler(Exception)
    async def broken(_: Request, failure: Exception) -> JSONResponse:
        return error(500, "internal", "the server failed; its log says why")


def main() -> None:
    """Runs the server until SIGTERM or Ctrl+C; requests that are being answered are finished first."""
    try:
        settings = Settings.read()
        service = Service(settings)
    except BundleError as failure:
        sys.exit(f"error: {failure}")
    # uvicorn raises the signal again when it has stopped; it was obeyed by then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server: uvicorn.Server

    def stop() -> None:
        server.should_exit = True

    config = uvicorn.Config(
        create_app(service, stop),
        host=settings.host,
        port=settings.port,
        access_log=False,
        limit_concurrency=settings.connections,
        timeout_graceful_shutdown=settings.grace_seconds,
    )
    server = uvicorn.Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    sys.exit(1 if service.failure else 0)


if __name__ == "__main__":
    main()
