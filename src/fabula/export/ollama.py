"""A Modelfile: how Ollama runs a GGUF so that the model sees what it was trained on.

The model goes on with plain text, so the template is the prompt alone: no roles, no chat. Its BOS
comes from the GGUF (`tokenizer.ggml.add_bos_token`), once; a BOS in the template would be a second.
It ends a story by its own end-of-sequence token, which Ollama takes from the GGUF too; as a `stop`
stand the token's letters, for servers that only look at text. The sampler's settings are our
writer's.

A template that does not ask for `.Messages` is rendered with the last prompt as it is: nothing is
trimmed, and the blank line that closes a brief arrives.
"""

from __future__ import annotations

from typing import Any

from fabula.writing.settings import WriterSettings

TEMPLATE = "{{ .Prompt }}"


def modelfile(gguf: str, context: int, end: str, settings: WriterSettings | None = None) -> str:
    """The Modelfile for a GGUF that lies beside it.

    Args:
        gguf: the file's name.
        context: tokens.
        end: the end-of-sequence token as text.
        settings: of the writer; by default its defaults.
    """
    settings = settings or WriterSettings()
    parameters: dict[str, Any] = {
        "temperature": settings.temperature,
        "top_k": settings.top_k,
        "top_p": settings.top_p,
        "min_p": settings.min_p,
        "repeat_penalty": 1.0,
        "num_ctx": context,
        "num_predict": min(context, 1024),
        "stop": f'"{end}"',
    }
    lines = [
        "# Made by `fabula export`. To use it: ollama create NAME -f Modelfile",
        f"FROM ./{gguf}",
        f'TEMPLATE """{TEMPLATE}"""',
        *(f"PARAMETER {name} {value}" for name, value in parameters.items()),
    ]
    return "\n".join(lines) + "\n"
