"""`fabula export` as a user types it: what it prints, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tiny_exports import ALL, rewrite

from fabula.cli import main
from fabula.errors import FabulaError
from fabula.export import Wishes, export
from fabula.export.export import shutil as exports_shutil

Made = Callable[..., Path]


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def fabula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """`fabula export ...` in this process, which has the large libraries loaded already."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["fabula", "export", *arguments])
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run


def test_all_at_once(
    tiny: Made, adapter: Made, tmp_path: Path, fabula: Callable[..., Done]
) -> None:
    folder = adapter(tiny("llama", "gpt2"), ALL)
    options = ["--to", "out", "--gguf", "q8_0", "--gguf", "f32", "--ollama", "--texts", "1"]
    done = fabula(str(folder), *options, "--push", "me/tale", "--dry-run", "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    assert found["folder"] == "out"
    assert found["gaps"][0]["against"] == "unmerged"
    assert found["gaps"][0]["tokens"] > 300
    first, second = found["gguf"]
    assert (first["type"], second["type"]) == ("q8_0", "f32")
    assert second["tokens"] == second["tokens_equal"] > 100
    assert second["checked"]
    assert found["push"]["uploaded"] is None
    names = {f["path"] for f in found["push"]["files"]}
    assert names == {p.name for p in (tmp_path / "out").iterdir()}
    assert "FROM ./tale-q8_0.gguf" in (tmp_path / "out" / "Modelfile").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    for stage in ("Merging", "Opening what was written", "Running tale-f32.gguf in llama.cpp"):
        assert stage in done.err


def test_what_it_prints_can_be_read(tiny: Made, fabula: Callable[..., Done]) -> None:
    said = str(tiny("linear"))
    done = fabula(said, "--to", "out", "--gguf", "f16", "--texts", "1")
    assert done.code == 0, done.err
    assert "same likeliest token" in done.out
    assert "out-f16.gguf" in done.out
    assert "checked in llama.cpp" in " ".join(done.out.split())
    assert "  vllm serve out --served-model-name out --dtype float16" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["./no-run", "--to", "out"], "no-run"),
        (["embedded", "--to", "out", "--gguf", "q4_k"], "it is one of f32, f16, bf16, q8_0"),
        (["embedded", "--to", "out", "--ollama"], "add --gguf"),
        (["embedded", "--to", "out", "--upload"], "--push OWNER/NAME"),
        (["embedded", "--to", "out", "--push", "me/x", "--upload", "--dry-run"], "one of them"),
        (["embedded", "--to", "out", "--push", "tale"], "OWNER/NAME"),
        (["embedded", "--to", "out", "--base", "gpt2"], "whole model"),
        (["embedded", "--to", "out", "--qlora"], "for adapters"),
        (["some-one/none", "--to", "out"], "some-one/none"),
        (["halfway", "--to", "out"], "has not come to its end"),
        (["other", "--to", "out"], "neither a run"),
        (["embedded", "--to", "other"], "holds something that is no export"),
        (["embedded", "--to", "other/file"], "is a file"),
        (["embedded", "--to", "other/file/out"], "cannot be written"),
    ],
)
def test_a_refusal_is_one_sentence(
    tmp_path: Path, arguments: list[str], said: str, fabula: Callable[..., Done]
) -> None:
    (tmp_path / "halfway").mkdir()
    (tmp_path / "halfway" / "recipe.yaml").write_text("name: halfway\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    done = fabula(*arguments)
    assert done.code == 2, done.err
    assert said in done.err
    assert "Traceback" not in done.err
    assert len([line for line in done.err.splitlines() if line.startswith("fabula:")]) == 1
    assert done.out == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["halfway", "other"]
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["file"]


def test_an_export_is_replaced_only_by_force(tiny: Made, tmp_path: Path) -> None:
    said, out = str(tiny("llama")), tmp_path / "out"
    export(said, Wishes(out, check=False, gguf=["f16"]))
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    with pytest.raises(FabulaError, match="--force"):
        export(said, Wishes(out, check=False))
    with pytest.raises(FabulaError, match="There is no model folder"):
        export("./nowhere", Wishes(out, check=False, force=True))
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == before
    export(said, Wishes(out, check=False, force=True))
    assert not list(out.glob("*.gguf"))
    # An export can be exported, but not into itself.
    with pytest.raises(FabulaError, match="holds the model that is exported"):
        export(str(out), Wishes(out, check=False, force=True))
    export(str(out), Wishes(tmp_path / "again", check=False))


def test_a_full_disk_is_seen_before_and_after(
    tiny: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, out = str(tiny("llama")), tmp_path / "out"
    with monkeypatch.context() as patched:
        usage = shutil.disk_usage(tmp_path)._replace(free=1000)
        patched.setattr(exports_shutil, "disk_usage", lambda place: usage)
        with pytest.raises(FabulaError, match="GB free"):
            export(said, Wishes(out, check=False))
    full = OSError(28, "No space left on device")
    for place in ("gguf.GGUFWriter.write_tensor_data", "fabula.export.making.write_atomic"):
        with monkeypatch.context() as patched:

            def fail(*args: object, **more: object) -> None:
                raise full

            patched.setattr(place, fail)
            with pytest.raises(FabulaError, match="No space left"):
                export(said, Wishes(out, check=False, gguf=["f16"]))
        assert list(tmp_path.iterdir()) == []
    # A real one: the system's limit on the size of a file.
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "import torch, transformers\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"sys.argv = ['fabula', 'export', {said!r}, '--to', 'out', '--no-check']\n"
        "from fabula.cli import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2, done.stderr
    assert "cannot be written to out" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_interrupted_it_leaves_nothing(
    tiny: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fabula.export.making import Maker

    def interrupt(self: Maker, model: Any) -> None:
        assert (self.draft / "model.safetensors").is_file()
        raise KeyboardInterrupt

    monkeypatch.setattr(Maker, "_write_ggufs", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(str(tiny("llama")), Wishes(tmp_path / "out", texts=1))
    assert list(tmp_path.iterdir()) == []


def test_without_llama_cpp_it_says_that_nothing_was_checked(
    tiny: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fabula.export.llama_cpp.find_spec", lambda name: None)
    made = export(str(tiny("llama")), Wishes(tmp_path / "out", texts=1, gguf=["f16"]))
    assert "not installed" in made.facts.files[0].sentence
    assert (
        "not checked: llama.cpp (pip install xllamacpp) is not installed"
        in (made.folder / "CARD.md").read_text()
    )


def test_a_weight_that_is_missing_is_named(tiny: Made, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny("linear"), tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(
        FabulaError, match=r"lack the tensor 'model\.layers\.1\.mlp\.up_proj\.weight'"
    ):
        export(str(folder), Wishes(tmp_path / "out", check=False))
    rewrite(folder / "config.json", model_type="t5")
    with pytest.raises(FabulaError, match="no causal language model"):
        export(str(folder), Wishes(tmp_path / "out", check=False))
