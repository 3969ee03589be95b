"""What servers are given: Ollama's Modelfile, vLLM's commands, the card."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_exports import ALL, rewrite

from fabula.errors import FabulaError
from fabula.export import Wishes, export
from fabula.export.llama_cpp import ask
from fabula.export.ollama import modelfile
from fabula.export.vllm import adapter_command
from fabula.story import Brief, Character, Setting, render_brief
from fabula.training.documents import encode_document
from fabula.training.tokenizer import open_tokenizer
from fabula.writing import WriterSettings

GOLDEN = Path(__file__).parent / "golden" / "prompt.txt"
BRIEF = Brief(
    title="The Lamp, Again",
    characters=[Character(name="Mara", traits=["shy", "stubborn, at times"])],
    setting=Setting(place="a lighthouse", time="winter, 1890"),
    genre="ghost story",
    arc="man in a hole",
    ending="happy",
    must_include=["a broken clock", "the lamp"],
    premise='A girl says "no"\nand means it \\ always.',
)
Made = Callable[..., Path]


def parse(text: str) -> tuple[str, str, dict[str, str]]:
    """(FROM, TEMPLATE, parameters) of a Modelfile, as Ollama reads one."""
    template = re.search(r'^TEMPLATE """(.*?)"""$', text, re.S | re.M)
    assert template is not None
    model = re.search(r"^FROM (\S+)$", text, re.M)
    assert model is not None
    return model[1], template[1], dict(re.findall(r"^PARAMETER (\S+) (.+)$", text, re.M))


def render(template: str, prompt: str) -> str:
    """A Go template whose only action is `.Prompt`; anything else is refused."""
    parts = re.split(r"\{\{(.*?)\}\}", template)
    assert all(action.strip() == ".Prompt" for action in parts[1::2])
    return "".join(prompt if n % 2 else part for n, part in enumerate(parts))


def test_ollama_sends_what_the_model_was_trained_on(tiny: Made, tmp_path: Path) -> None:
    """Byte for byte, and in llama.cpp token for token, with one BOS."""
    pytest.importorskip("xllamacpp")
    golden = GOLDEN.read_bytes().decode()
    assert render_brief(BRIEF) == golden
    base = tiny("llama", "gpt2")
    made = export(str(base), Wishes(tmp_path / "out", gguf=["f16"], ollama=True, texts=1))
    model, template, parameters = parse((made.folder / "Modelfile").read_text())
    assert (made.folder / model).is_file()
    sent = render(template, golden)
    assert sent.encode() == GOLDEN.read_bytes()
    tokenizer = open_tokenizer(str(base))
    ids, labels = encode_document(tokenizer, golden, "# outline\n")
    learnt_from = ids[: next(n for n, label in enumerate(labels) if label >= 0)]
    (read,) = ask(made.folder / model, [sent], [], tokenizer.eos).tokens
    assert read == learnt_from
    assert read.count(tokenizer.bos) == 1
    assert parameters["stop"] == f'"{tokenizer.hf.eos_token}"'
    assert float(parameters["temperature"]) == WriterSettings().temperature
    assert int(parameters["num_ctx"]) == made.facts.context


def test_the_settings_are_the_writers() -> None:
    settings = WriterSettings(temperature=0.9, top_k=7, min_p=0.1)
    _, _, parameters = parse(modelfile("m.gguf", 512, "</s>", settings))
    assert parameters["temperature"] == "0.9"
    assert parameters["top_k"] == "7"
    assert parameters["min_p"] == "0.1"
    assert parameters["repeat_penalty"] == "1.0"


def test_vllm_serves_merged_and_beside(tiny: Made, adapter: Made, tmp_path: Path) -> None:
    folder = adapter(tiny("llama", "legacy"), ALL, rank_pattern={"q_proj": 20})
    out = tmp_path / "my story"
    made = export(str(folder), Wishes(out, check=False, dtype="bfloat16"))
    merged, beside = (shlex.split(c) for c in made.facts.commands.values())
    assert merged[:3] == ["vllm", "serve", str(out)]
    assert merged[merged.index("--dtype") + 1] == "bfloat16"
    assert merged[merged.index("--max-model-len") + 1] == "1100"
    assert beside[beside.index("--lora-modules") + 1] == f"my story={folder}"
    assert beside[beside.index("--max-lora-rank") + 1] == "32"
    card = (out / "CARD.md").read_text()
    for command in made.facts.commands.values():
        assert command in card
    # Its tokenizer puts no BOS in front: the base that does is named, and how it is made.
    assert beside[2] == "llama-base"
    assert f"fabula export {tiny('llama', 'legacy')} --to llama-base" in card


def test_what_vllm_does_not_serve_beside_is_said(tmp_path: Path) -> None:
    for adapter, match in (
        ({"r": 8, "use_dora": True}, "DoRA"),
        ({"r": 8, "modules_to_save": ["lm_head"]}, "whole modules"),
        ({"r": 1024}, "up to 512"),
    ):
        command, why = adapter_command("base", "folder", "name", adapter, 100)
        assert command is None
        assert match in str(why)


def test_a_window_bounds_what_ollama_gives(tiny: Made, tmp_path: Path) -> None:
    wishes = Wishes(tmp_path / "out", gguf=["q8_0"], ollama=True, check=False)
    made = export(str(tiny("mistral", "gpt2")), wishes)
    assert "PARAMETER num_ctx 400" in (made.folder / "Modelfile").read_text()
    card = (made.folder / "CARD.md").read_text()
    assert "sliding window of 400 tokens" in card
    assert "not checked: --no-check" in card
    with pytest.raises(FabulaError, match="add --gguf"):
        export("embedded", Wishes(tmp_path / "x", ollama=True))


def test_a_gguf_that_reads_otherwise_is_not_handed_on(
    tiny: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tokenizer that llama.cpp knows by a wrong name: seen by running it."""
    pytest.importorskip("xllamacpp")
    from fabula.export import gguf_file

    real = gguf_file.check

    def wrong(folder: Path) -> object:
        architecture, vocabulary = real(folder)
        object.__setattr__(vocabulary, "pre", "viking")
        return architecture, vocabulary

    monkeypatch.setattr(gguf_file, "check", wrong)
    with pytest.raises(FabulaError, match="into other tokens"):
        export(str(tiny("llama")), Wishes(tmp_path / "out", gguf=["f16"], texts=1))
    assert not (tmp_path / "out").exists()


def test_a_gguf_that_computes_otherwise_is_not_handed_on(
    tiny: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xllamacpp")
    from fabula.export.architecture import Architecture

    monkeypatch.setattr(Architecture, "lay_out", lambda self, own, weight: weight)
    with pytest.raises(FabulaError, match="does not compute what the model computes"):
        export(str(tiny("linear")), Wishes(tmp_path / "out", gguf=["f16"], texts=1))
    assert not (tmp_path / "out").exists()


def test_an_unknown_licence_is_said_to_be_unknown(
    tiny: Made, adapter: Made, tmp_path: Path
) -> None:
    folder = adapter(tiny("llama", "gpt2"), ["q_proj"])
    made = export(str(folder), Wishes(tmp_path / "a", check=False))
    assert "not known to Fabula" in (made.folder / "CARD.md").read_text()
    base = tmp_path / "base"
    import shutil

    shutil.copytree(tiny("llama", "gpt2"), base)
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n# x\n")
    rewrite(folder / "adapter_config.json", base_model_name_or_path=str(base))
    made = export(str(folder), Wishes(tmp_path / "b", check=False))
    assert "`apache-2.0`" in (made.folder / "CARD.md").read_text()
