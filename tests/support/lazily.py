"""Modules that take long to import, of which only the worker that runs their tests shall pay the price."""

from __future__ import annotations

import importlib
from typing import Any


class Lazily:
    """A module that is imported by the first use of one of its names.

    `importlib.util.LazyLoader` would not do: pytest looks at whatever a test module holds.
    """

    def __init__(self, name: str) -> None:
        """Import nothing yet."""
        self.__dict__["_name"] = name

    def __getattr__(self, name: str) -> Any:
        """Import it, and give what it has under a name."""
        # pytest asks each object of a test module for names like these while it collects.
        if name.startswith("_") or name == "pytestmark":
            raise AttributeError(name)
        return getattr(importlib.import_module(self._name), name)
