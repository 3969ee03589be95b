"""onnxruntime, kept from calling home."""

from __future__ import annotations

import os
from functools import cache
from typing import Any


@cache
def onnxruntime() -> Any:
    """The onnxruntime module, its telemetry off.

    From 1.29 on its wheels for Linux and macOS send usage events to their maker and keep a device
    id in the user's cache folder, unless told otherwise before they are loaded.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # type: ignore[import-untyped]

    onnxruntime.disable_telemetry_events()
    return onnxruntime
