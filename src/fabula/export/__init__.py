"""Handing a model on: merged weights, GGUF for llama.cpp and Ollama, vLLM, the hub."""
