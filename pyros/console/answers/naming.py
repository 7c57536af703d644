"""Functions that tables name as text, so that the tables can be read without Django."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def named(text: str) -> Any:
    """Return the function that ``module:function`` names."""
    module, _, function = text.partition(":")
    return getattr(import_module(module), function)
