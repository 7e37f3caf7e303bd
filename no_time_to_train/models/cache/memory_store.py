"""Entries of the cache held in memory, for many models that look at the same pictures one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor


class Store(Protocol):
    """Keeps entries by key, for good or for a while."""

    def get(self, key: str) -> Mapping[str, Tensor] | None:
        """An entry, or None when it is not there."""

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep an entry."""


class MemoryStore:
    """Holds every entry that passes, until :meth:`clear`; a store behind it, if any, keeps them for later."""

    def __init__(self, behind: Store | None = None) -> None:
        self.behind = behind
        self._entries: dict[str, Mapping[str, Tensor]] = {}

    def get(self, key: str) -> Mapping[str, Tensor] | None:
        """An entry from memory, else from behind; it must not be changed in place."""
        if key not in self._entries and self.behind is not None:
            entry = self.behind.get(key)
            if entry is not None:
                self._entries[key] = entry
        return self._entries.get(key)

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Hold an entry, and keep it behind."""
        self._entries[key] = tensors
        if self.behind is not None:
            self.behind.put(key, tensors)

    def clear(self) -> None:
        """Let go of what is held; what is behind stays."""
        self._entries.clear()
