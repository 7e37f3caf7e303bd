"""How the app's answers and refusals go over the wire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from no_time_to_train.errors import NoTimeToTrainError

PAGE = Path(__file__).parent / "page"


class Json(JSONResponse):
    """In plain ASCII, so that names which are no UTF-8 pass through."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class PageFiles(StaticFiles):
    """The page's own files; a browser asks each time whether they changed."""

    async def get_response(self, path: str, scope: Any) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response


async def index(request: Request) -> Response:
    """The page."""
    return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object that a request holds."""
    try:
        content = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise NoTimeToTrainError("the body of a request must be JSON") from None
    if not isinstance(content, dict):
        raise NoTimeToTrainError("the body of a request must be a JSON object")
    return content


async def refused(request: Request, error: Exception) -> Response:
    """For what a person can mend."""
    return Json({"error": str(error)}, 400)


async def not_there(request: Request, error: HTTPException) -> Response:
    """For an address that is none."""
    return Json({"error": error.detail}, error.status_code)


async def failed(request: Request, error: OSError) -> Response:
    """For a full disk and the like."""
    return Json({"error": f"nothing was changed: {error}"}, 500)


async def broken(request: Request, error: Exception) -> Response:
    """For a fault of the program."""
    return Json({"error": f"the program failed at this ({type(error).__name__}); its output says more"}, 500)


def picture(data: bytes) -> Response:
    """A JPEG."""
    return Response(data, media_type="image/jpeg", headers={"cache-control": "private, no-cache"})


def number_of(text: str) -> int:
    """A whole number of an address."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise NoTimeToTrainError(f"start and count must be whole numbers, got {text!r}")
    return int(text)


def id_of(value: Any) -> int:
    """The id of an image in a body."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise NoTimeToTrainError(f"an image is named by its number, got {value!r}")
    return value
