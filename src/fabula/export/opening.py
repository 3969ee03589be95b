"""The token that opens a document, exactly once, also where others serve the model.

Every document that a model learns from begins with its BOS, which our own engines put in front. A
server (vLLM, plain transformers) leaves that to the tokenizer's files, and many say nothing: then
the model would be asked in a way it has never seen. So the exported tokenizer says it, and no EOS.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fabula.engines.shape import read_json
from fabula.errors import FabulaError
from fabula.story.files import write_atomic


def open_with_bos(folder: Path, bos: int | None, eos: int) -> bool:
    """Let a folder's tokenizer put its BOS in front of a text, once; return whether it does.

    Args:
        bos, eos: ids; without a BOS nothing is changed.

    Raises:
        FabulaError: the folder has no tokenizer.json.
    """
    if bos is None or opens_with_bos(folder, bos, eos):
        return bos is not None
    path = folder / "tokenizer.json"
    data = read_json(path)
    token = next((a["content"] for a in data.get("added_tokens") or [] if a["id"] == bos), None)
    if token is None:
        return False
    first: dict[str, Any] = {"SpecialToken": {"id": token, "type_id": 0}}
    data["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [first, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [
            first,
            {"Sequence": {"id": "A", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 1}},
        ],
        "special_tokens": {token: {"id": token, "ids": [bos], "tokens": [token]}},
    }
    write_atomic(path, json.dumps(data, ensure_ascii=False))
    settings = folder / "tokenizer_config.json"
    if settings.is_file():
        # Classes that make their own post-processor ask here.
        told = {**read_json(settings), "add_bos_token": True, "add_eos_token": False}
        write_atomic(settings, json.dumps(told, ensure_ascii=False, indent=2) + "\n")
    return opens_with_bos(folder, bos, eos)


def opens_with_bos(folder: Path, bos: int, eos: int) -> bool:
    """Whether the folder's tokenizer, opened plainly, puts one BOS in front and no EOS behind."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        ids = list(tokenizer("Genre: comedy\n\n")["input_ids"])
    except Exception as error:
        raise FabulaError(f"The tokenizer of '{folder}' cannot be read ({error}).") from None
    return ids[:1] == [bos] and bos not in ids[1:] and ids[-1] != eos
