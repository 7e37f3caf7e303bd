"""What the server answers: ``/predict``, ``/health``, and the calls of Label Studio."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from no_time_to_train.dataset.coco.results import to_coco_rows
from no_time_to_train.dataset.export.label_studio import VERSION
from no_time_to_train.dataset.images import read_image_size
from no_time_to_train.errors import DatasetError, NoTimeToTrainError
from no_time_to_train.masks.outlines import mask_to_polygons
from no_time_to_train.masks.rle import decode_crop
from no_time_to_train.results import Instances
from no_time_to_train.serve.batches import Batches, BusyError
from no_time_to_train.serve.label_studio import Interface, picture_of, prediction

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

TOLERANCE = 0.75  # pixels that an outline may move for the sake of fewer corners


class TooLargeError(NoTimeToTrainError):
    """More pixels than the server takes."""


@dataclass
class Served:
    """A server's model and limits.

    Attributes:
        batches: the queue before the model.
        min_score: what is answered.
        most_pixels: of a picture, looked at before it is decoded.
        root: folder of the pictures that Label Studio names.
    """

    batches: Batches
    min_score: float = 0.5
    most_pixels: int = 50_000_000
    root: Path | None = None
    interface: Interface | None = None

    def app(self) -> Starlette:
        """All routes."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        return Starlette(
            routes=[
                Route("/health", self.health),
                Route("/setup", answered(self.setup), methods=["POST"]),
                Route("/predict", answered(self.predict), methods=["POST"]),
            ]
        )

    async def health(self, _: Request) -> Response:
        """Whether it runs, with what, and how many wait."""
        from starlette.responses import JSONResponse

        finder = self.batches.finder
        content = {"status": "UP", "model_class": VERSION, "classes": list(finder.classes)}
        return JSONResponse({**content, "waiting": self.batches.waiting})

    async def setup(self, request: Request) -> dict[str, Any]:
        """Label Studio says which labelling interface a project has."""
        self.interface = Interface.read(str(_json(await request.body()).get("schema", "")))
        return {"model_version": VERSION}

    async def predict(self, request: Request) -> dict[str, Any]:
        """Search a picture, which is the body; or the tasks of Label Studio, which are JSON."""
        body = await request.body()
        if request.headers.get("content-type", "").partition(";")[0] == "application/json":
            return await self._tasks(_json(body))
        form = request.query_params.get("format", "coco")
        if form not in FORMS:
            raise DatasetError(f"format must be one of {', '.join(FORMS)}, got {form!r}")
        found = await self._search(body, request.query_params.get("name", "image"))
        return FORMS[form](found[found.scores >= self.min_score])

    async def _tasks(self, content: dict[str, Any]) -> dict[str, Any]:
        if "label_config" in content:
            self.interface = Interface.read(str(content["label_config"]))
        interface = self.interface
        if interface is None:
            raise DatasetError("no labelling interface yet; send label_config, or call /setup first")
        results = []
        for task in content.get("tasks", []):
            picture = picture_of(task, interface, self.root)
            found = await self._search(picture, f"task {task.get('id')}")
            results.append(prediction(found, interface, self.min_score))
        return {"results": results}

    async def _search(self, picture: Path | bytes, name: str) -> Instances:
        with as_file(picture) as path:
            try:
                height, width = await asyncio.to_thread(read_image_size, path)
            except DatasetError as error:
                raise DatasetError(str(error).replace(str(path), name)) from None
            if height * width > self.most_pixels:
                raise TooLargeError(
                    f"{name}: {width} x {height} pixels, and this server takes {self.most_pixels}; "
                    "send a smaller one"
                )
            return await asyncio.wrap_future(self.batches.submit(path, name))


@contextmanager
def as_file(picture: Path | bytes) -> Iterator[Path]:
    """A picture on the disk, so that it is read as any other and waits without filling the memory."""
    if isinstance(picture, Path):
        yield picture
        return
    with tempfile.TemporaryDirectory(prefix="ntt-serve-") as folder:
        path = Path(folder) / "picture"
        path.write_bytes(picture)
        yield path


def answered(
    call: Callable[[Request], Awaitable[dict[str, Any]]],
) -> Callable[[Request], Awaitable[Response]]:
    """A call as a route: what the caller can mend is one sentence."""

    async def route(request: Request) -> Response:
        from starlette.responses import JSONResponse

        try:
            return JSONResponse(await call(request))
        except BusyError:
            waits = {"error": "too many images are waiting; ask again in a second"}
            return JSONResponse(waits, 503, {"Retry-After": "1"})
        except TooLargeError as error:
            return JSONResponse({"error": str(error)}, 413)
        except NoTimeToTrainError as error:
            return JSONResponse({"error": str(error)}, 400)

    return route


def coco(found: Instances) -> dict[str, Any]:
    """COCO rows of one image, its classes numbered from 1."""
    ids = range(1, len(found.class_names) + 1)
    height, width = found.size
    return {
        "images": [{"id": 1, "file_name": found.name, "height": height, "width": width}],
        "categories": [{"id": key, "name": name} for key, name in zip(ids, found.class_names, strict=True)],
        "annotations": to_coco_rows(found, 1, ids),
    }


def polygons(found: Instances) -> dict[str, Any]:
    """Outlines in pixels, several of one instance where it has parts; boxes are x1, y1, x2, y2."""
    instances = []
    for row, rle in enumerate(found.rles):
        mask, left, top = decode_crop(rle)
        instances.append(
            {
                "class": found.class_name(int(found.labels[row])),
                "score": float(found.scores[row]),
                "box": found.boxes[row].tolist(),
                "polygons": mask_to_polygons(mask, TOLERANCE, (left, top)),
            }
        )
    return {"height": found.size[0], "width": found.size[1], "instances": instances}


FORMS: dict[str, Callable[[Instances], dict[str, Any]]] = {"coco": coco, "polygons": polygons}
"""Words of ``?format=``."""


def _json(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except ValueError:
        raise DatasetError("the body is no JSON") from None
    if not isinstance(content, dict):
        raise DatasetError("the body must be a JSON object")
    return content
