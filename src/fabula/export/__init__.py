"""Handing a model on: merged weights, GGUF for llama.cpp and Ollama, vLLM, the hub."""

from fabula.export.export import Export, check_wishes, export
from fabula.export.wishes import Announce, Wishes

__all__ = ["Announce", "Export", "Wishes", "check_wishes", "export"]
