"""Server-sent events: every open page hears of what any of them, or the search, changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

SECONDS_OF_SILENCE = 15
"""After which a comment keeps a connection open."""

MOST_WAITING = 2000
"""Events that one page may be behind; one that is further behind is cut off, comes again and reads anew."""


class Events:
    """Sends what :meth:`tell` is given, from any thread, to all that listen."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[str | None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def tell(self, event: str, data: dict[str, Any], revision: int) -> None:
        """One event for all pages."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._send, message(event, data, revision))

    def close(self) -> None:
        """End all streams; may be called from a signal handler."""
        self._closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._send, None)

    async def listen(self, first: list[str]) -> AsyncIterator[str]:
        """Messages for one page from now on.

        Args:
            first: what it hears at once.
        """
        self._loop = asyncio.get_running_loop()
        queue: asyncio.Queue[str | None] = asyncio.Queue(MOST_WAITING)
        self._queues.add(queue)
        try:
            for text in first:
                yield text
            while not self._closed:
                try:
                    text_or_end = await asyncio.wait_for(queue.get(), SECONDS_OF_SILENCE)
                except asyncio.TimeoutError:
                    yield ": still here\n\n"
                    continue
                if text_or_end is None:
                    return
                yield text_or_end
        finally:
            self._queues.discard(queue)

    def _send(self, text: str | None) -> None:
        for queue in list(self._queues):
            if queue.full():
                self._queues.discard(queue)
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(text)


def message(event: str, data: dict[str, Any], revision: int) -> str:
    """One event as it goes over the wire."""
    return f"id: {revision}\nevent: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
