"""What this machine offers."""

from __future__ import annotations

import os


def default_threads() -> int:
    """Threads for a small model: the cores this process may use, at most four.

    From four logical ones on half of them are counted, for two mostly share a core.
    """
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:  # Windows and macOS
        available = os.cpu_count() or 1
    return available if available <= 2 else min(4, available // 2)


def memory_bytes() -> float:
    """Physical memory of this machine; without limit where it cannot be told."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return float("inf")
