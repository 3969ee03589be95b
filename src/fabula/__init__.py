"""Fabula: open language models that write the short story its reader asked for."""

from __future__ import annotations

from fabula.errors import FabulaError, MissingExtra

__version__ = "0.1.0"
__all__ = ["FabulaError", "MissingExtra", "__version__"]
