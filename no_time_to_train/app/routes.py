"""The addresses of the app; what each answers stands in ``answers``, who may ask in ``web.guards``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route

from no_time_to_train.app import answers
from no_time_to_train.app.events import Events, message
from no_time_to_train.app.export import WITH_MASKS, export_project
from no_time_to_train.app.operations import StaleError
from no_time_to_train.app.outlines import box_of, brushed, rings_of
from no_time_to_train.app.pictures import Pictures
from no_time_to_train.app.project import Project
from no_time_to_train.app.prompts import Prompter
from no_time_to_train.app.responses import (
    PAGE,
    Json,
    PageFiles,
    body_of,
    broken,
    failed,
    id_of,
    index,
    not_there,
    number_of,
    picture,
    refused,
)
from no_time_to_train.app.search import Search
from no_time_to_train.errors import NoTimeToTrainError

MOST_LISTED = 1000
MOST_PARTS = 10_000


@dataclass(frozen=True)
class App:
    """What the addresses work on.

    Attributes:
        models: their names, for people.
    """

    project: Project
    search: Search
    prompter: Prompter
    pictures: Pictures
    events: Events
    models: str

    def routes(self) -> Starlette:
        """The ASGI application, without guards."""
        get, post = {"methods": ["GET"]}, {"methods": ["POST"]}
        api = [
            Route("/api/state", self.state, **get),  # type: ignore[arg-type]
            Route("/api/images", self.images, **get),  # type: ignore[arg-type]
            Route("/api/images/{image:int}", self.image, **get),  # type: ignore[arg-type]
            Route("/api/candidates", self.candidates, **get),  # type: ignore[arg-type]
            Route("/api/counts", self.counts, **get),  # type: ignore[arg-type]
            Route("/api/events", self.stream, **get),  # type: ignore[arg-type]
            Route("/api/images/{image:int}/mask", self.mask, **post),  # type: ignore[arg-type]
            Route("/api/images/{image:int}/brush", self.brush, **post),  # type: ignore[arg-type]
            Route("/api/ops", self.operations, **post),  # type: ignore[arg-type]
            Route("/api/search", self.start_search, **post),  # type: ignore[arg-type]
            Route("/api/view", self.look, **post),  # type: ignore[arg-type]
            Route("/api/export", self.export, **post),  # type: ignore[arg-type]
            Route("/images/{image:int}/thumb", self.thumb, **get),  # type: ignore[arg-type]
            Route("/images/{image:int}/view", self.view, **get),  # type: ignore[arg-type]
            Route("/crops/{key}", self.crop, **get),  # type: ignore[arg-type]
            Route("/", index, **get),  # type: ignore[arg-type]
            Mount("/page", PageFiles(directory=PAGE, check_dir=False)),
        ]
        handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
            NoTimeToTrainError: refused,
            HTTPException: not_there,
            OSError: failed,
            Exception: broken,
        }
        return Starlette(routes=api, exception_handlers=handlers)  # type: ignore[arg-type]

    def look_at(self, image: int) -> None:
        """An image came into view."""
        self.project.view = image
        self.prompter.look_at(image)

    async def state(self, request: Request) -> Response:
        return await self._locked(
            lambda: answers.state_of(self.project, self.models, self.search.progress, WITH_MASKS)
        )

    async def images(self, request: Request) -> Response:
        count = len(self.project.images)
        return await self._locked(lambda: [answers.row_of(self.project, image) for image in range(count)])

    async def image(self, request: Request) -> Response:
        image = request.path_params["image"]

        def answer() -> Any:
            self.project.images.path(image)
            with suppress(NoTimeToTrainError):  # the row says it
                self.project.images.size(image)
            return answers.image_of(self.project, image)

        return await self._locked(answer)

    async def candidates(self, request: Request) -> Response:
        asked = request.query_params
        name, what = asked.get("class", ""), asked.get("what", "candidates")
        if what not in ("candidates", "confirmed", "rejected"):
            raise NoTimeToTrainError(f"what must be candidates, confirmed or rejected, got {what!r}")
        start, count = (
            number_of(asked.get("start", "0")),
            min(number_of(asked.get("count", "200")), MOST_LISTED),
        )
        return await self._locked(lambda: answers.listed(self.project, name, what, start, count))

    async def counts(self, request: Request) -> Response:
        name = request.query_params.get("class", "")
        return await self._locked(
            lambda: {"scores": [one.score for one in self.project.found.of_class(name)]}
        )

    async def mask(self, request: Request) -> Response:
        image, asked = request.path_params["image"], await body_of(request)
        future = self.prompter.prompt(image, asked.get("points"), asked.get("box"))
        rle, score = await asyncio.wrap_future(future)
        return await run_in_threadpool(lambda: Json(self._shape(image, rle) | {"score": score}))

    async def brush(self, request: Request) -> Response:
        image, asked = request.path_params["image"], await body_of(request)

        def answer() -> Response:
            size = self.project.images.size(image)
            rle = brushed(asked.get("outline") or [], asked.get("strokes"), size)
            return Json(self._shape(image, rle) | {"score": None})

        return await run_in_threadpool(answer)

    async def operations(self, request: Request) -> Response:
        asked = await body_of(request)
        parts = asked.get("ops")
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise NoTimeToTrainError("ops must be a list of operations")
        if len(parts) > MOST_PARTS:
            raise NoTimeToTrainError(f"at most {MOST_PARTS} operations at once, got {len(parts)}")

        def answer() -> Response:
            with self.project.lock:
                try:
                    outcome = self.project.apply(parts, str(asked.get("tab", ""))[:64])
                except StaleError as error:
                    now = answers.objects_of(self.project, error.keys)
                    return Json({"error": str(error), "objects": now}, 409)
                return Json(
                    {
                        "revision": outcome.revision,
                        "objects": answers.objects_of(self.project, outcome.objects),
                        "images": outcome.images,
                    }
                )

        return await run_in_threadpool(answer)

    async def start_search(self, request: Request) -> Response:
        asked = await body_of(request)

        def answer() -> Any:
            if asked.get("view") is not None:
                self.look_at(id_of(asked["view"]))
            self.search.start()
            return self.search.progress

        return await self._locked(answer)

    async def look(self, request: Request) -> Response:
        image = id_of((await body_of(request)).get("image"))

        def answer() -> Any:
            self.look_at(image)
            return {"image": image}

        return await self._locked(answer)

    async def export(self, request: Request) -> Response:
        asked = await body_of(request)
        formats, what = asked.get("formats") or [], str(asked.get("what", "confirmed"))
        if not isinstance(formats, list):
            raise NoTimeToTrainError("formats must be a list of words")
        memory = None
        if asked.get("memory"):
            memory = await asyncio.wrap_future(self.search.memory_now())
            if memory is None:
                raise NoTimeToTrainError("there is no reference yet, so there is no memory to export")

        def answer() -> Response:
            return Json(export_project(self.project, formats, what, self.search.finder, memory))

        return await run_in_threadpool(answer)

    async def stream(self, request: Request) -> Response:
        seen = request.headers.get("last-event-id", "")
        revision = self.project.state.revision
        first = [message("search", self.search.progress, revision)]
        if seen.isdigit() and int(seen) != revision:
            first.append(message("op", {"revision": revision, "images": None}, revision))
        return StreamingResponse(
            self.events.listen(first), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    async def thumb(self, request: Request) -> Response:
        return await self._jpeg(request, self.pictures.thumb)

    async def view(self, request: Request) -> Response:
        return await self._jpeg(request, self.pictures.view)

    async def crop(self, request: Request) -> Response:
        key = request.path_params["key"]

        def answer() -> Response:
            with self.project.lock:
                one = self.project.state.objects.get(key) or self.project.found.get(key)
            if one is None:
                raise HTTPException(404, f"there is no object or candidate {key}")
            return picture(self.pictures.crop(one.image, one.rle))

        return await run_in_threadpool(answer)

    async def _jpeg(self, request: Request, make: Callable[[int], bytes]) -> Response:
        image = request.path_params["image"]

        def answer() -> Response:
            tag = f'"{self.pictures.stamp(image)}"'
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=304, headers={"etag": tag})
            response = picture(make(image))
            response.headers["etag"] = tag
            return response

        return await run_in_threadpool(answer)

    async def _locked(self, answer: Callable[[], Any]) -> Response:
        """JSON of what is read or changed under the project's lock, beside the server's loop."""

        def held() -> Response:
            with self.project.lock:
                value = answer()
            return Json(value)

        return await run_in_threadpool(held)

    def _shape(self, image: int, rle: Any) -> dict[str, Any]:
        token = self.project.remember_mask(image, rle)
        return {"outline": rings_of(rle), "box": box_of(rle), "mask": token}
