"""Tiny models, made once a session; and one folder of the user's cache for all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A model folder of an architecture, with a tokenizer of a kind."""
    import tiny_exports as make

    made: dict[tuple[str, str], Path] = {}

    def tiny(kind: str, tokenizer: str = "ours") -> Path:
        if (kind, tokenizer) in made:
            return made[kind, tokenizer]
        folder = made[kind, tokenizer] = tmp_path_factory.mktemp("tiny") / kind
        make.save_model(kind, folder)
        if tokenizer in ("legacy", "metaspace"):
            make.save_sentencepiece(folder, tokenizer == "metaspace")
        else:
            make.save_byte_level(folder, tokenizer == "ours", kind == "gpt2")
        return folder

    return tiny


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A PEFT adapter folder with random weights over a model folder."""

    def make(base: Path, targets: list[str], **settings: Any) -> Path:
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        torch.manual_seed(11)
        config = LoraConfig(r=4, lora_alpha=12, target_modules=targets, **settings)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_A" in name or "lora_B" in name or "lora_embedding" in name:
                    parameter.normal_(std=0.1)
                if "lora_magnitude" in name or "modules_to_save" in name:
                    parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
        folder = tmp_path_factory.mktemp("adapters") / "adapter"
        model.save_pretrained(folder)
        return folder

    return make
