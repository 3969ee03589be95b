"""Engines: token ids in, next-token scores out. `open_engine` finds the one for a model."""

from fabula.engines.choose import EMBEDDED, embedded_folder, open_engine
from fabula.engines.protocol import Decoding, Engine, Ids, Scores

__all__ = ["EMBEDDED", "Decoding", "Engine", "Ids", "Scores", "embedded_folder", "open_engine"]
