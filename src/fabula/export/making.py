"""The making of an export: merge, write, open again, compare, try in llama.cpp, describe."""

from __future__ import annotations

import gc
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fabula import __version__
from fabula.engines.choose import EMBEDDED, runs_embedded
from fabula.engines.shape import Unsupported
from fabula.engines.tokens import Tokens
from fabula.errors import FabulaError
from fabula.export import gguf_file, llama_cpp, merge, ollama, push, vllm
from fabula.export.card import Checked, Facts, card, read_run_card
from fabula.export.gap import Gap, compare, held_out_texts, scores
from fabula.export.opening import open_with_bos, opens_with_bos
from fabula.export.source import Source
from fabula.export.wishes import MARK, Announce, Wishes
from fabula.story import render_brief
from fabula.story.files import write_atomic
from fabula.story.sample import load_sample
from fabula.training.models import DTYPES, choose_dtype, context_of, load_base, read_config
from fabula.training.recipe import Recipe
from fabula.training.tokenizer import TextTokenizer, open_tokenizer

SHARD = "2GB"
"""Largest file of weights."""
ALLOWED_MARGIN = 0.5
"""Logits by which an unquantised GGUF may find another token likelier before it is held to be
wrong: llama.cpp rounds a little otherwise (GPT-2's GELU comes from a table in half precision)."""


class Maker:
    """Makes one export in a draft folder.

    Args:
        source: what is handed on.
        wishes: what is asked.
        draft: the folder, empty.
        announce: who is told.
        dtype: of the written weights.
        stored: of the weights as they are.
        parameters: of the model.
    """

    def __init__(
        self,
        source: Source,
        wishes: Wishes,
        draft: Path,
        announce: Announce,
        dtype: str,
        stored: str,
        parameters: int,
    ) -> None:
        self.source, self.wishes, self.draft, self.announce = source, wishes, draft, announce
        self.dtype = DTYPES[dtype]
        # Where nothing is computed, weights need not be wider than they are stored.
        self.run_in = merge.run_dtype(parameters, stored) if wishes.check else DTYPES[stored]
        own = (source.folder / "tokenizer.json").is_file()
        folder = source.folder if own else source.base_folder
        self.tokenizer: TextTokenizer = open_tokenizer(str(folder))
        config: Any = read_config(str(source.base_folder))
        adapted = "qlora" if wishes.qlora else "lora"
        self.facts = Facts(
            name=wishes.push.split("/")[1]
            if wishes.push
            else wishes.to.expanduser().resolve().name,
            said=source.said,
            base=source.base,
            method=source.recipe.method if source.recipe else adapted if source.adapter else "",
            adapter=source.adapter,
            dtype=dtype,
            context=context_of(config) or 4096,
            computed=f"in {str(self.run_in)[6:]}"
            + (" on the GPU" if merge.device() == "cuda" else ""),
            licence=push.licence_of(
                source.base or (EMBEDDED if source.said == EMBEDDED else source.said),
                source.base_folder,
            ),
            where=wishes.push or str(wishes.to),
            pushed=wishes.push is not None,
            run_card=read_run_card(source.folder),
        )
        self.texts: list[list[int]] = []
        if wishes.check:
            self.texts = held_out_texts(
                self.tokenizer, wishes.texts, self.facts.context, int(config.vocab_size)
            )

    def make(self) -> Facts:
        """Do it all; return the facts that the card tells.

        Raises:
            FabulaError: what was written is not what it should be.
        """
        trained = self._as_trained()
        apart = self._merge_and_write()
        model = None
        if self.wishes.check:
            self.announce.stage("Opening what was written, and comparing")
            model = merge.open_model(self.draft, self.run_in)
            self._compare(self._scores(model), apart, trained)
        self._write_ggufs(model)
        del model
        self._write_commands()
        self._describe()
        return self.facts

    def _scores(self, model: Any) -> list[torch.Tensor]:
        found = []
        for done, one in enumerate(scores(model, self.texts)):
            found.append(one)
            self.announce.progress(done + 1, len(self.texts))
        return found

    def _as_trained(self) -> list[torch.Tensor]:
        """Scores of a QLoRA run's adapter over the 4-bit weights that it was trained over."""
        if not self.wishes.check or self.source.adapter is None or self.facts.method != "qlora":
            return []
        self.announce.stage("Computing scores as trained, over 4-bit weights")
        recipe = self.source.recipe or Recipe.model_validate(
            {"name": "qlora", "base_model": self.source.base, "method": "qlora",
             "data": [{"corpus": "sample"}], "steps": 1}
        )  # fmt: skip
        model: Any = load_base(str(self.source.base_folder), choose_dtype(recipe))
        found = self._scores(merge.put_on(model.eval(), self.source))
        del model
        gc.collect()
        return found

    def _merge_and_write(self) -> list[torch.Tensor]:
        """Merge and write the folder; the scores before it."""
        adapter = self.source.adapter is not None
        self.announce.stage("Opening the weights")
        model = merge.open_model(self.source.base_folder, self.run_in)
        if adapter:
            model = merge.put_on(model, self.source)
        apart: list[torch.Tensor] = []
        if self.wishes.check:
            self.announce.stage("Computing scores before merging")
            apart = self._scores(model)
        self.announce.stage("Merging")
        if adapter:
            model = merge.merge(model, self.dtype, self.announce.progress)
        else:
            model = merge.round_all(model, self.dtype)
        self.facts.parameters = sum(p.numel() for p in model.parameters())
        self.announce.stage("Writing the weights")
        self._write_folder(model)
        del model
        gc.collect()
        if self.tokenizer.bos is not None:
            self.facts.bos = open_with_bos(self.draft, self.tokenizer.bos, self.tokenizer.eos)
        return apart

    def _write_folder(self, model: Any) -> None:
        from transformers import GenerationConfig

        from fabula.writing.settings import WriterSettings

        writer = WriterSettings()
        # Servers take these where a request says nothing.
        model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            bos_token_id=self.tokenizer.bos,
            eos_token_id=self.tokenizer.eos,
            pad_token_id=self.tokenizer.pad,
            do_sample=True,
            temperature=writer.temperature,
            top_k=writer.top_k,
            top_p=writer.top_p,
            min_p=writer.min_p,
        )
        try:
            model.save_pretrained(self.draft, max_shard_size=SHARD)
            self.tokenizer.hf.save_pretrained(self.draft)
        except Exception as error:
            # safetensors wraps the system's error in one of its own.
            if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
                raise OSError(getattr(error, "errno", None) or 0, str(error)) from None
            raise
        umask = os.umask(0)
        os.umask(umask)
        for path in self.draft.iterdir():
            # safetensors writes its files for their owner alone.
            path.chmod(0o666 & ~umask)
        for folder in (self.source.folder, self.source.base_folder):
            if (folder / "names.json").is_file():
                shutil.copyfile(folder / "names.json", self.draft / "names.json")
                break
        if runs_embedded(self.source.base_folder):
            from fabula.engines.graph import write_graph

            try:
                write_graph(self.draft)
            except Unsupported:
                self.announce.note("It runs by torch only: its shape is not the embedded engine's.")

    def _compare(
        self,
        written: list[torch.Tensor],
        apart: list[torch.Tensor],
        trained: list[torch.Tensor],
    ) -> None:
        """Fill in what merging and rounding cost."""
        beside = "unmerged" if self.source.adapter else "as it was"
        new = "merged" if self.source.adapter else "as written"
        gaps: list[Gap] = [compare(new, beside, written, apart, self.texts)]
        if trained:
            what = "as trained, over 4 bits"
            gaps.append(compare(new, what, written, trained, self.texts))
            gaps.append(compare(beside, what, apart, trained, self.texts))
        self.facts.gaps = gaps

    def _write_ggufs(self, model: Any) -> None:
        if not self.wishes.gguf:
            return
        architecture, _ = gguf_file.check(self.draft)
        self.facts.window = architecture.window
        passages: list[llama_cpp.Passage] = []
        margins: list[list[torch.Tensor]] = []
        if model is not None and llama_cpp.available():
            self.announce.stage("Writing a few lines to compare llama.cpp with")
            passages, margins = self._passages(model, architecture.context)
        for kind in self.wishes.gguf:
            self.announce.stage(f"Writing the GGUF in {kind}")
            place = self.draft / f"{self.facts.name}-{kind}.gguf"
            gguf_file.write_gguf(self.draft, place, kind, self.facts.name, self.announce.progress)
            self.facts.files.append(self._try(place, kind, passages, margins))

    def _passages(
        self, model: Any, context: int
    ) -> tuple[list[llama_cpp.Passage], list[list[torch.Tensor]]]:
        """What the model writes after a few briefs, always the likeliest token, and its scores."""
        from fabula.engines.transformers_engine import TransformersEngine

        tokens = Tokens(self.tokenizer.backend)
        bos, eos = self.tokenizer.bos, self.tokenizer.eos
        engine = TransformersEngine(self.facts.name, "", model, tokens, bos, eos)
        large = self.facts.parameters > 300e6
        briefs, most = (1, 24) if large else (3, 64)
        passages: list[llama_cpp.Passage] = []
        margins: list[list[torch.Tensor]] = []
        for done, story in enumerate(load_sample("test")[:briefs]):
            text = render_brief(story.brief)
            ids = [*([] if bos is None else [bos]), *engine.encode(text)]
            if len(ids) + 8 > context:
                continue
            decoding = engine.start(ids, 1)
            written: list[int] = []
            kept = []
            for _ in range(min(most, context - len(ids) - 1)):
                kept.append(torch.from_numpy(decoding.scores[0].copy()))
                written.append(int(kept[-1].argmax()))
                if written[-1] == eos:
                    break
                decoding.step(np.array(written[-1:]))
            passages.append(llama_cpp.Passage(text, ids, written))
            margins.append(kept)
            self.announce.progress(done + 1, briefs)
        return passages, margins

    def _try(
        self,
        place: Path,
        kind: str,
        passages: list[llama_cpp.Passage],
        kept: list[list[torch.Tensor]],
    ) -> Checked:
        """Run a GGUF in llama.cpp.

        Raises:
            FabulaError: it reads text otherwise than the model, or clearly writes something else.
        """
        size = place.stat().st_size
        if not self.wishes.check:
            return Checked(place.name, kind, size, why_not="--no-check")
        if not llama_cpp.available():
            why = "llama.cpp (pip install xllamacpp) is not installed"
            return Checked(place.name, kind, size, why_not=why)
        self.announce.stage(f"Running {place.name} in llama.cpp")
        texts = [*(p.text for p in passages), *TEXTS]
        texts += [s.text for s in load_sample("test")[: self.wishes.texts]]
        front = [] if self.tokenizer.bos is None else [self.tokenizer.bos]
        answer = llama_cpp.ask(
            place, texts, passages, self.tokenizer.eos, self.wishes.threads, exact=kind == "f32"
        )
        own = [[*front, *ids] for ids in self.tokenizer.encode_batch(texts)]
        for text, ours, theirs in zip(texts, own, answer.tokens, strict=True):
            if ours != theirs:
                raise FabulaError(
                    f"llama.cpp reads {text[:40]!r} into other tokens ({theirs[:8]}...) than the "
                    f"model ({ours[:8]}...): a GGUF would write nonsense; leave --gguf out."
                )
        margin = 0.0
        for found in answer.differences:
            z = kept[found.passage][found.place]
            other = float(z[found.token]) if 0 <= found.token < len(z) else float("-inf")
            margin = max(margin, float(z.max()) - other)
        if kind != "q8_0" and margin > ALLOWED_MARGIN:
            raise FabulaError(
                f"llama.cpp does not compute what the model computes ({len(answer.differences)} "
                f"tokens differ, by up to {margin:.3g} logits): a GGUF would write nonsense; leave "
                "--gguf out, and use the merged folder."
            )
        places = sum(len(p.written) for p in passages)
        return Checked(
            place.name, kind, size, len(texts), places, places - len(answer.differences), margin
        )

    def _write_commands(self) -> None:
        facts, source = self.facts, self.source
        served = facts.name
        facts.commands["the merged model"] = vllm.merged_command(
            facts.where, served, facts.dtype, facts.context
        )
        if source.adapter is not None:
            self._write_adapter_command(served)
        prompt = render_brief(load_sample("test")[0].brief)
        write_atomic(self.draft / "example-prompt.txt", prompt.encode())
        if self.wishes.ollama:
            context = min(facts.context, facts.window or facts.context)
            text = ollama.modelfile(facts.files[0].file, context, str(self.tokenizer.hf.eos_token))
            write_atomic(self.draft / "Modelfile", text)
            facts.ollama = True

    def _write_adapter_command(self, served: str) -> None:
        source, bos = self.source, self.tokenizer.bos
        assert source.base is not None
        assert source.adapter is not None
        base, note = source.base, None
        if base == EMBEDDED or (
            bos is not None and not opens_with_bos(source.base_folder, bos, self.tokenizer.eos)
        ):
            base = f"{Path(source.base).name}-base"
            note = (
                f"{base} is made by `fabula export {source.base} --to {base}`, whose tokenizer "
                f"puts the token that opens a document in front of a prompt; that of "
                f"{source.base} does not."
            )
        command, why_not = vllm.adapter_command(
            base, str(source.folder), served, source.adapter, self.facts.context
        )
        if command is not None:
            self.facts.commands["the adapter beside its base, unmerged"] = command
            self.facts.notes += [note] if note is not None else []
        elif why_not is not None:
            self.facts.notes.append(why_not)

    def _describe(self) -> None:
        facts = self.facts
        text = card(facts)
        write_atomic(self.draft / "CARD.md", text)
        if self.wishes.push is not None:
            matter = push.front_matter(facts.base, facts.licence, bool(facts.files), facts.method)
            push.write_readme(self.draft, text, matter)
        write_atomic(self.draft / MARK, json.dumps(self.record(), indent=1) + "\n")

    def record(self) -> dict[str, Any]:
        """How it was made, for programs."""
        facts = self.facts
        return {
            "made_by": f"fabula {__version__}",
            "from": facts.said,
            "base": facts.base,
            "method": facts.method,
            "dtype": facts.dtype,
            "parameters": facts.parameters,
            "context": facts.context,
            "gaps": [gap.figures() for gap in facts.gaps],
            "gguf": [
                {
                    "file": c.file,
                    "type": c.kind,
                    "bytes": c.size,
                    "checked": c.why_not is None,
                    "texts_equal": c.texts,
                    "tokens": c.places,
                    "tokens_equal": c.equal,
                    "largest_margin": round(c.margin, 6),
                }
                for c in facts.files
            ],
            "commands": facts.commands,
        }


TEXTS = (
    "Protagonist: Zoë, shy\nPlace: São Paulo, 1987\n\n",
    "It cost 3.50, or 12,000 -- no, 12,001!\n\n\"Don't,\" she said; 'I'll go.'\n",
    "# climax\nМара слушала. 雨が降る 🌧️ — “Go…”\t  (twice)  \n",
)
"""Texts that tokenizers are apt to read differently: digits, accents, scripts, spaces, lines."""
