"""The doctor: what it shows is what the model gets, and each bad case is refused for real."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_picks import picks_file
from test_preferences import pairs_file
from tiny_recipe import CONTEXT, VOCABULARY, recipe_data

from fabula.cli import main
from fabula.errors import FabulaError
from fabula.story.sample import load_sample
from fabula.training import loss, packing
from fabula.training import models as models_room
from fabula.training.doctor import documents, gate, measured, settings, spelling, texts
from fabula.training.doctor.examine import Examination, examine
from fabula.training.doctor.findings import ok
from fabula.training.doctor.page import make_page
from fabula.training.doctor.terminal import level, windows
from fabula.training.doctor.texts import Seen, pieces
from fabula.training.documents import IGNORED
from fabula.training.recipe import Recipe
from fabula.training.run import train
from fabula.training.sitting import Announce
from fabula.training.tokenizer import BEGIN, END, PAD, TextTokenizer, open_tokenizer

torch = pytest.importorskip("torch")
MEASURED = {"first loss", "packing", "accumulation", "gradients"}


class Told(Announce):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def look(data: dict[str, Any], runs: Path) -> Examination:
    return examine(Recipe.model_validate(data), runs, Announce())


def verdicts(told: Examination) -> dict[str, str]:
    return {finding.check: finding.verdict for finding in told.findings}


def sentence(told: Examination, check: str) -> str:
    return next(f.sentence for f in told.findings if f.check == check and f.verdict != "ok")


def refused(data: dict[str, Any], runs: Path, check: str, *words: str) -> None:
    """The doctor and `train` refuse with the same single sentence, and `train` leaves nothing."""
    told = look(data, runs)
    assert verdicts(told)[check] == "refused", verdicts(told)
    said = sentence(told, check)
    for word in words:
        assert word in said
    assert "\n" not in said
    with pytest.raises(FabulaError) as error:
        train(Recipe.model_validate(data), runs, False, Announce())
    assert words[0] in str(error.value)
    assert "\n" not in str(error.value)
    assert not (runs / data["name"]).exists()


@pytest.fixture
def copied(corpus: Path, tmp_path: Path) -> Path:
    """A corpus of its own to spoil."""
    return Path(shutil.copytree(corpus, tmp_path / "spoilt"))


# What it shows.


@pytest.mark.parametrize(
    ("kind", "method", "more"),
    [
        ("llama", "qlora", {"gradient_checkpointing": True}),
        ("gpt2", "lora", {"lora": {"dropout": 0.3, "rslora": True}}),
        ("mistral", "lora", {"lora": {"dora": True}, "gradient_checkpointing": True}),
        ("llama", "full", {"loss_on_prompt": 0.25, "packing": False}),
    ],
)
def test_a_good_recipe_passes_every_check(
    kind: str,
    method: str,
    more: dict[str, Any],
    models: dict[str, Path],
    corpus: Path,
    tmp_path: Path,
) -> None:
    data = recipe_data(corpus, base_model=str(models[kind]), method=method, steps=20, **more)
    told = look(data, tmp_path)
    assert not told.refused
    assert verdicts(told).keys() >= MEASURED
    doubtful = {check for check, verdict in verdicts(told).items() if verdict != "ok"}
    assert doubtful <= {"data", "endings"}, told.findings  # the corpus of tests has no sums
    figures = {finding.check: finding.figures for finding in told.findings}
    assert figures["packing"]["gap"] < 1e-4
    assert figures["accumulation"]["gap"] < 1e-4
    assert figures["first loss"]["ln_v"] == pytest.approx(math.log(VOCABULARY), abs=1e-3)
    assert figures["gradients"]["without"] == 0
    assert figures["gradients"]["learn"] > 10


def test_what_is_shown_is_what_the_model_gets_and_loses(
    models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    data = recipe_data(
        corpus, base_model=str(models["llama"]), micro_batch_size=2, augmentation={}, steps=20
    )
    told = look(data, tmp_path)
    recipe = Recipe.model_validate(data)
    tokenizer = open_tokenizer(str(models["llama"]))
    stream = packing.Stream(
        packing.open_deck(recipe), tokenizer, tokenizer.pad, recipe, packing.Cursor()
    )
    first = next(iter(stream))
    assert [text.name for text in told.batch] == first["load"].ids
    ids = [i for text in told.batch for i in text.ids]
    assert first["input_ids"][0, : len(ids)].tolist() == ids
    model: Any = models_room.load_base(str(models["llama"]), recipe)
    for text in told.batch:
        assert text.ids[0] == tokenizer.bos
        assert text.ids[-1] == tokenizer.eos
        prompt, completion = text.ids[: text.prompt], text.ids[text.prompt :]
        assert tokenizer.decode(prompt).endswith("\n\n")
        assert tokenizer.decode(completion).startswith("# outline\n")
        assert text.losses[: text.prompt] == [None] * text.prompt
        with torch.no_grad():
            scores = model(input_ids=torch.tensor([text.ids])).logits[0, :-1].log_softmax(-1)
        expected = -scores.gather(1, torch.tensor(text.ids)[1:, None])[:, 0]
        found = [value for value in text.losses if value is not None]
        assert found == pytest.approx(expected[text.prompt - 1 :].tolist(), abs=1e-3)


def test_pieces_join_to_the_text_and_name_special_tokens(tokenizer_folder: Path) -> None:
    tokenizer = open_tokenizer(str(tokenizer_folder))
    said = "Zoë’s 🦊 ran —\n\nfast! 漢"
    ids = [0, *tokenizer.encode_batch([said])[0], 1]
    told = pieces(tokenizer, ids)
    assert len(told) == len(ids)
    assert (told[0], told[-1]) == (BEGIN, END)
    assert "".join(told[1:-1]) == said


def test_long_texts_show_their_beginning_their_border_and_their_end() -> None:
    text = Seen("a", list(range(1000)), [0.0] * 400 + [1.0] * 600, 400)
    parts = windows(text, 100)
    assert parts[0][0] == 0
    assert parts[-1][1] == 1000
    assert any(start < 400 < end for start, end in parts)
    assert sum(end - start for start, end in parts) < 140
    assert windows(text, 1000) == [(0, 1000)]
    assert [level(x) for x in (0.0, 0.5, 1.5, 3.0, 5.0, 60.0)] == [0, 1, 2, 3, 4, 5]


def test_pairs_and_picks_are_shown_and_checked_too(models: dict[str, Path], tmp_path: Path) -> None:
    base = {"base_model": str(models["llama"]), "data": [], "augmentation": {}, "method": "lora"}
    pairs = {"pairs": str(pairs_file(tmp_path)), "held_out": 0.25}
    told = look(recipe_data(tmp_path, **base, preferences=pairs, steps=20), tmp_path)
    assert told.kind == "pairs"
    assert not told.refused
    assert [text.role for text in told.batch] == ["chosen", "rejected"]
    better, worse = told.batch
    assert better.ids[: better.prompt] == worse.ids[: worse.prompt]
    assert all(loss is not None for loss in better.losses[better.prompt :])
    picks = {"files": [str(picks_file(tmp_path))], "held_out": 0.3}
    told = look(recipe_data(tmp_path, **base, picks=picks, steps=20), tmp_path)
    assert told.kind == "picks"
    assert not told.refused
    assert {"best", "wrong"} <= {text.role for text in told.batch}
    for text in told.batch:
        assert 0 < text.learnt < 200
        assert text.mean_loss is not None
    for name in MEASURED:
        assert verdicts(told)[name] == "ok"


def test_the_models_own_pairs_are_drawn_to_be_looked_at(corpus: Path, tmp_path: Path) -> None:
    """Those of the run where it has drawn some; else a few are drawn now, and none kept."""
    small = {"stories": 2, "samples": 2, "margin": 0.01}
    data = recipe_data(corpus, base_model="embedded", preferences=small, steps=20)
    data |= {"sequence_length": 1024, "augmentation": {}}
    folder = tmp_path / "tiny"
    folder.mkdir()
    shutil.copy(pairs_file(tmp_path), folder / "pairs.jsonl")
    told = look(data, tmp_path)
    assert told.batch[0].role == "chosen"
    assert told.batch[0].name == ""  # a line of the file
    assert sorted(p.name for p in folder.iterdir()) == ["pairs.jsonl"]


# Bad cases, each for real.


def letters() -> str:
    return "".join(sorted({c for s in load_sample("train")[:60] for c in s.text + s.premise}))


def save_tokenizer(backend: Any, base: Path, folder: Path, **special: str) -> Path:
    """A model folder with another tokenizer, and as many embeddings as that has ids."""
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def unigram(*pieces: tuple[str, float]) -> Any:
    """Single letters, as a sentencepiece model would have them, with its special pieces."""
    from tokenizers import Tokenizer, decoders
    from tokenizers import models as kinds

    known = sorted({*letters(), *"#\n\\ :,._-0123456789", *map(chr, range(32, 127))})
    vocabulary = [("<unk>", -20.0), *pieces, *((c, -5.0) for c in known)]
    tokenizer = Tokenizer(kinds.Unigram(vocabulary, unk_id=0))
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def lettered(corpus: Path, base: Path, **changes: Any) -> dict[str, Any]:
    """A recipe for tokenizers of single letters: short stories."""
    return recipe_data(corpus, base_model=str(base), steps=20, **changes)


@pytest.fixture
def brief_pairs(tmp_path: Path) -> dict[str, Any]:
    """Short pairs, for tokenizers that make many tokens."""
    path = tmp_path / "short.jsonl"
    lines = [
        {"prompt": f"Place: a house {n}\n\n", "chosen": f"She went {n} times.", "rejected": "No."}
        for n in range(30)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"preferences": {"pairs": str(path), "held_out": 0.3}, "data": [], "augmentation": {}}


def test_a_tokenizer_that_puts_a_bos_into_text_is_refused(
    models: dict[str, Path], brief_pairs: dict[str, Any], tmp_path: Path
) -> None:
    """A normalizer writes '<s>' in front of every text, and the model has it as a piece."""
    from tokenizers import normalizers

    backend = unigram(("<s>", 0.0), ("</s>", -40.0))
    backend.normalizer = normalizers.Prepend("<s>")
    base = save_tokenizer(backend, models["llama"], tmp_path / "base", **SPECIAL)
    data = recipe_data(tmp_path, base_model=str(base), **brief_pairs)
    refused(data, tmp_path / "runs", "special tokens", "<s>", "by itself")
    assert "second <s>" in sentence(look(data, tmp_path / "runs"), "bos")


def test_a_tokenizer_whose_own_call_adds_a_bos_is_fine(
    models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    """As Llama-2's does: here one stands in front all the same."""
    from tokenizers import Tokenizer, processors

    base = Path(shutil.copytree(models["llama"], tmp_path / "base"))
    backend = Tokenizer.from_file(str(base / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, 0)]
    )
    backend.save(str(base / "tokenizer.json"))
    assert open_tokenizer(str(base)).hf("Mara")["input_ids"][0] == 0
    told = look(recipe_data(corpus, base_model=str(base), steps=20), tmp_path)
    assert verdicts(told)["bos"] == verdicts(told)["special tokens"] == "ok"
    said = next(f.found for f in told.findings if f.check == "special tokens")
    assert "put in front once" in said
    assert all(text.ids.count(0) == 1 for text in told.batch)


def test_a_special_token_that_can_be_typed_is_refused(
    models: dict[str, Path], brief_pairs: dict[str, Any], tmp_path: Path
) -> None:
    backend = unigram(("<s>", -40.0), ("</s>", 0.0))
    base = save_tokenizer(backend, models["llama"], tmp_path / "base", **SPECIAL)
    data = recipe_data(tmp_path, base_model=str(base), **brief_pairs)
    refused(data, tmp_path / "runs", "special tokens", "</s>", "forge an end")


def characters(alphabet: str, unknown: str | None) -> Any:
    """Single characters and no bytes: what is not in the alphabet is unknown, or gone."""
    from tokenizers import Tokenizer, decoders
    from tokenizers import models as kinds

    known = {BEGIN: 0, END: 1, PAD: 2}
    for letter in sorted(set(alphabet)):
        known[letter] = len(known)
    tokenizer = Tokenizer(kinds.BPE(vocab=known, merges=[], unk_token=unknown))
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


OWN = {"bos_token": BEGIN, "eos_token": END, "pad_token": PAD}
PLAIN = "".join(map(chr, range(32, 127))) + "\n"


def test_completions_that_are_empty_to_the_tokenizer_are_refused(
    models: dict[str, Path], tmp_path: Path
) -> None:
    """Stories in letters that a tokenizer drops without a word."""
    base = save_tokenizer(characters(PLAIN, None), models["llama"], tmp_path / "base", **OWN)
    path = tmp_path / "pairs.jsonl"
    lines = [{"prompt": f"Place: {n}\n\n", "chosen": "Она", "rejected": "Нет"} for n in range(30)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = {"preferences": {"pairs": str(path), "held_out": 0.3}, "data": [], "augmentation": {}}
    data = recipe_data(tmp_path, base_model=str(base), **given)
    refused(data, tmp_path / "runs", "labels", "empty completion", "line ")


def test_a_tokenizer_whose_unknown_token_ends_stories_is_refused(
    models: dict[str, Path], brief_pairs: dict[str, Any], tmp_path: Path
) -> None:
    backend = characters(PLAIN.replace("7", ""), END)
    base = save_tokenizer(backend, models["llama"], tmp_path / "base", **OWN, unk_token=END)
    data = recipe_data(tmp_path, base_model=str(base), **brief_pairs)
    told = look(data, tmp_path / "runs")
    assert verdicts(told)["eos"] == "refused"
    assert f"{END} stands inside" in sentence(told, "eos")
    with pytest.raises(FabulaError, match=r"unknown to the tokenizer|stands inside"):
        train(Recipe.model_validate(data), tmp_path / "runs", False, Announce())


def test_letters_that_are_lost_and_lines_that_are_joined_are_refused(
    models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    from transformers import PreTrainedTokenizerFast

    said = ["Она пришла домой, and was glad of it."]
    for alphabet, words in ((PLAIN, "unknown to the tokenizer"), (PLAIN[:-1], "line breaks")):
        hf = PreTrainedTokenizerFast(
            tokenizer_object=characters(alphabet, None if "line" in words else PAD),
            **OWN,
            unk_token=PAD,
        )
        finding = spelling.check_spelling(TextTokenizer(hf, "here"), said)
        assert finding.verdict == "refused"
        assert words in finding.sentence


def all_masked(encoder: Any, pairs: Any) -> Any:
    return [(ids, [IGNORED] * len(ids)) for ids, _ in real_encode(encoder, pairs)]


def end_masked(encoder: Any, pairs: Any) -> Any:
    """As where padding has EOS's id, and labels are masked by id."""
    return [(ids, [*labels[:-1], IGNORED]) for ids, labels in real_encode(encoder, pairs)]


def doubled(encoder: Any, pairs: Any) -> Any:
    """As where a template has a BOS, and the tokenizer adds another."""
    return [([0, *ids], [IGNORED, *labels]) for ids, labels in real_encode(encoder, pairs)]


def unmasked(encoder: Any, pairs: Any) -> Any:
    """As where the prompt's end is searched for and not found."""
    return [(ids, list(ids)) for ids, _ in real_encode(encoder, pairs)]


real_encode = packing.encode_documents


@pytest.mark.parametrize(
    ("encode", "check", "words"),
    [
        (all_masked, "labels", "All labels are masked in"),
        (end_masked, "eos", f"{END} is not the last label"),
        (doubled, "bos", f"second {BEGIN}"),
        (unmasked, "prompt", "weighs 1 in the loss, where loss_on_prompt is 0"),
    ],
)
def test_encoders_with_the_well_known_faults_are_refused(
    encode: Callable[..., Any],
    check: str,
    words: str,
    models: dict[str, Path],
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The product's own encoder cannot make these; the doctor reads the batch all the same."""
    monkeypatch.setattr(packing, "encode_documents", encode)
    data = recipe_data(corpus, base_model=str(models["llama"]), evaluation={"max_documents": 0})
    refused(data, tmp_path, check, words)


def test_a_run_that_would_leave_most_stories_out_is_refused_unless_told_otherwise(
    corpus: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    data = recipe_data(corpus, base_model=str(models["llama"]), sequence_length=400)
    data["evaluation"] = {"max_documents": 0}
    refused(data, tmp_path, "endings", "would be left out whole", "sequence_length")
    told = Told()
    outcome = train(Recipe.model_validate(data), tmp_path, False, told, doctor=False)
    assert outcome.finished
    assert any(note.startswith("Doctor: ") and "left out whole" in note for note in told.notes)
    assert documents.check_endings(4, 100, 512).verdict == "ok"
    assert documents.check_endings(20, 100, 512).verdict == "warning"


def test_stories_that_repeat_their_prompt_are_refused(
    models: dict[str, Path], tmp_path: Path
) -> None:
    """As files of preferences often do."""
    path = pairs_file(tmp_path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["chosen"] = line["prompt"] + line["chosen"][:200]
        line["rejected"] = line["prompt"] + line["rejected"][:200]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    preferences = {"pairs": str(path), "held_out": 0.25}
    given = {"preferences": preferences, "data": [], "augmentation": {}}
    data = recipe_data(tmp_path, base_model=str(models["llama"]), **given)
    refused(data, tmp_path / "runs", "prompt", "repeat their whole prompt")


def manifest_of(folder: Path, **changes: Any) -> None:
    import hashlib

    import fabula

    sums = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.parquet")}
    told = {"format": 1, "versions": {"fabula": fabula.__version__}, "sha256": sums}
    told |= {"splits": {"train": 40, "valid": 6}}
    (folder / "manifest.json").write_text(json.dumps({**told, **changes}))


def rewrite(path: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = change(pq.read_table(path).to_pylist())
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_a_corpus_as_prepared_is_fine_and_a_stale_one_is_refused(
    copied: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    data = recipe_data(copied, base_model=str(models["llama"]))
    manifest_of(copied)
    told = look(data, tmp_path)
    assert verdicts(told)["data"] == "ok"
    manifest_of(copied, format=0, versions={"fabula": "0.0.1"})
    refused(data, tmp_path, "data", "in format 0 by Fabula 0.0.1", "fabula prepare")
    manifest_of(copied, sha256={}, splits={"train": 41, "valid": 6})
    refused(data, tmp_path, "data", "40 documents, but its manifest.json tells of 41")
    manifest_of(copied)
    rewrite(copied / "train.parquet", lambda rows: rows[:-1])
    refused(data, tmp_path, "data", "not the file that its manifest.json was written with")

    def older(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**row, "prompt": row["prompt"].replace("Premise:", "Prompt:")} for row in rows]

    rewrite(copied / "train.parquet", older)
    manifest_of(copied, versions={"fabula": "0.0.1"})
    refused(data, tmp_path, "data", "another text format than today's", "0.0.1")
    (copied / "manifest.json").write_text("{")
    refused(data, tmp_path, "data", "is damaged")
    (copied / "manifest.json").unlink()
    shutil.copy(copied / "valid.parquet", copied / "train.parquet")
    assert look({**data, "evaluation": {"max_documents": 0}}, tmp_path).findings


def test_what_fabula_prepare_writes_passes(tmp_path: Path, models: dict[str, Path]) -> None:
    from fabula.corpus import Settings, open_source, prepare

    source = tmp_path / "tales.jsonl"
    told = [{"text": s.text, "prompt": s.premise} for s in load_sample("train")[:40]]
    source.write_text("".join(json.dumps(line) + "\n" for line in told))
    folder = tmp_path / "made"
    prepare([open_source(str(source), set())], folder, Settings(valid=0.2, test=0.0, max_words=100))
    data = recipe_data(folder, base_model=str(models["llama"]))
    finding = next(f for f in look(data, tmp_path).findings if f.check == "data")
    assert finding.verdict == "ok"
    assert "their sums agree" in finding.found
    rewrite(folder / "train.parquet", lambda rows: rows[1:])
    refused(data, tmp_path, "data", "train.parquet")


@pytest.mark.parametrize("by", ["id", "text", "split"])
def test_stories_that_are_both_learnt_and_held_out_are_refused(
    by: str, copied: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    data = recipe_data(copied, base_model=str(models["llama"]))
    if by == "split":
        data["data"] = [{"corpus": str(copied), "split": "valid"}]
    else:
        import pyarrow.parquet as pq

        taken = pq.read_table(copied / "valid.parquet").to_pylist()[:2]
        more = [row if by == "id" else {**row, "id": "another"} for row in taken]
        rewrite(copied / "train.parquet", lambda rows: rows + more)
    manifest_of(copied, splits={"train": 42, "valid": 6})
    told = look(data, tmp_path)
    assert verdicts(told)["splits"] == "refused"
    assert "both learnt and held out" in sentence(told, "splits")
    if by != "text":  # in `train` ids are compared, not all texts
        refused(data, tmp_path, "splits", "both learnt and held out")


@pytest.mark.parametrize("what", ["data", "base", "tokenizer"])
def test_a_run_does_not_go_on_with_other_inputs(
    what: str, copied: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    base = Path(shutil.copytree(models["llama"], tmp_path / "base"))
    data = recipe_data(copied, base_model=str(base), method="lora", steps=2)
    data["evaluation"] = {"max_documents": 0}
    assert train(Recipe.model_validate(data), tmp_path, False, Announce()).finished
    more = Recipe.model_validate({**data, "steps": 3})
    kept = json.loads((tmp_path / "tiny" / "inputs.json").read_text())
    assert {"data", "base", "tokenizer", "format", "fabula"} <= kept.keys()
    if what == "data":
        words = "train.parquet) have changed"
        rewrite(copied / "train.parquet", lambda rows: rows[::-1])
    elif what == "base":
        words = "base model's files have changed"
        raw = bytearray((base / "model.safetensors").read_bytes())
        raw[-7] ^= 1
        (base / "model.safetensors").write_bytes(raw)
    else:
        words = "the tokenizer is another"
        vocabulary = json.loads((base / "tokenizer.json").read_text("utf-8"))
        known = vocabulary["model"]["vocab"]
        known["a"], known["b"] = known["b"], known["a"]
        (base / "tokenizer.json").write_text(json.dumps(vocabulary))
    if what == "data":
        assert verdicts(look(data, tmp_path))["run"] == "refused"
    with pytest.raises(FabulaError, match="start over with --force") as error:
        train(more, tmp_path, True, Announce())
    assert words in str(error.value)
    if what == "data":
        assert train(more, tmp_path, True, Announce(), doctor=False).finished
        assert train(more, tmp_path, False, Announce(), force=True).finished
        assert verdicts(look({**data, "steps": 3}, tmp_path))["run"] == "ok"


def test_bfloat16_on_a_gpu_without_it_is_refused_also_inside_four_bits(
    corpus: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine is the one thing that is made up here: a T4 has no bfloat16."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    base = {"base_model": str(models["llama"]), "method": "qlora"}
    for changes in ({"dtype": "bfloat16"}, {"quantisation": {"compute_dtype": "bfloat16"}}):
        recipe = Recipe.model_validate(recipe_data(corpus, **{**base, **changes}))
        finding = settings.check_dtype(recipe)
        assert finding.verdict == "refused"
        assert "which this GPU does not have" in finding.sentence
    recipe = Recipe.model_validate(recipe_data(corpus, **base, dtype="float32"))
    assert settings.check_dtype(recipe).verdict == "ok"


def test_no_recipe_learns_in_float16(corpus: Path) -> None:
    for changes in ({"dtype": "float16"}, {"quantisation": {"compute_dtype": "float16"}}):
        with pytest.raises(ValueError, match="float32"):
            Recipe.model_validate(recipe_data(corpus, **changes))


def test_weights_that_float16_cannot_hold_are_refused(
    models: dict[str, Path], corpus: Path
) -> None:
    recipe = Recipe.model_validate(
        recipe_data(corpus, base_model=str(models["llama"]), save_dtype="float16")
    )
    model: Any = models_room.load_base(str(models["llama"]), recipe)
    finding = settings.check_weights(recipe, model)
    assert finding is not None
    assert finding.verdict == "ok"
    with torch.no_grad():
        model.lm_head.weight[0, 0] = 70_000.0
    finding = settings.check_weights(recipe, model)
    assert finding is not None
    assert "float16 cannot hold" in finding.sentence


def test_an_adapter_that_gets_no_gradient_is_refused(
    models: dict[str, Path], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers whose inputs are cut from the graph: only the last one's adapter would learn."""
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    forward = LlamaDecoderLayer.forward
    monkeypatch.setattr(
        LlamaDecoderLayer, "forward", lambda self, x, *a, **k: forward(self, x.detach(), *a, **k)
    )
    data = recipe_data(corpus, base_model=str(models["llama"]), method="lora")
    refused(data, tmp_path, "gradients", "14 of 28 tensors")


def test_an_adapter_on_the_output_layer_learns_too(
    models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    """The fused loss would read that layer's own weights, past the adapter."""
    for target in (["lm_head"], ["q_proj", "lm_head"]):
        data = recipe_data(
            corpus, base_model=str(models["llama"]), method="lora", lora={"target": target},
            optimiser={"learning_rate": 1e-2}, name="-".join(target).replace("_", "-"),
        )  # fmt: skip
        assert verdicts(look(data, tmp_path))["gradients"] == "ok"
        outcome = train(Recipe.model_validate(data), tmp_path, False, Announce())
        assert outcome.after.loss < outcome.before.loss - 0.01


def test_a_frozen_adapter_is_seen(models: dict[str, Path], corpus: Path) -> None:
    """Activations recomputed in a way that parts the graph, the well-known silent fault."""
    recipe = Recipe.model_validate(
        recipe_data(corpus, base_model=str(models["gpt2"]), method="lora", steps=1)
    )
    model: Any = models_room.add_adapter(models_room.load_base(str(models["gpt2"]), recipe), recipe)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    ids = torch.arange(20)[None]

    def whole() -> Any:
        return model(input_ids=ids).logits.square().mean()

    assert measured.check_gradients(model, whole, recipe).verdict == "ok"
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert all(p.grad is None for p in model.parameters())
    layer = model.base_model.model.transformer.h[1]
    forward = layer.forward
    layer.forward = lambda *args, **kwargs: forward(
        args[0].detach().requires_grad_(), *args[1:], **kwargs
    )
    finding = measured.check_gradients(model, whole, recipe)
    assert finding.verdict == "refused"
    assert finding.figures["without"] == 8  # A and B of the four layers of the first block
    assert all(".h.0." in name for name in finding.figures["names"])


def test_documents_that_see_each_other_are_refused(
    corpus: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    from transformers import AutoTokenizer, MambaConfig, MambaForCausalLM

    config = MambaConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=1, state_size=4, eos_token_id=1
    )
    base = tmp_path / "mamba"
    MambaForCausalLM(config).save_pretrained(base)
    AutoTokenizer.from_pretrained(models["llama"]).save_pretrained(base)
    refused(recipe_data(corpus, base_model=str(base)), tmp_path, "packing", "would see each other")


def some_documents() -> list[packing.Document]:
    return [
        packing.Document(str(n), 0, list(range(3, 23 + 9 * n)), [IGNORED] * 5 + [7] * (15 + 9 * n))
        for n in range(3)
    ]


def test_the_checks_would_see_a_leak_and_a_mean_of_means(
    models: dict[str, Path], corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe.model_validate(recipe_data(corpus, base_model=str(models["llama"])))
    model = models_room.load_base(str(models["llama"]), recipe)
    of = loss.choose(model, VOCABULARY)
    docs = some_documents()
    assert measured.check_packing(docs, of, model).verdict == "ok"
    assert measured.check_accumulation(docs, of, model).verdict == "ok"
    whole = loss.LossOf.__call__

    def mean(self: loss.LossOf, batch: Any) -> Any:
        return whole(self, batch) / (batch["weights"] > 0).sum() * 30

    with monkeypatch.context() as patched:
        patched.setattr(loss.LossOf, "__call__", mean)
        finding = measured.check_accumulation(docs, of, model)
        assert finding.verdict == "refused"
        assert finding.figures["gap"] > 0.05

    def leaky(self: loss.LossOf, batch: Any) -> dict[str, Any]:
        ids = batch["input_ids"]
        told = {"input_ids": ids, "position_ids": batch["position_ids"], "use_cache": False}
        return {**told, "attention_mask": torch.ones_like(ids)}

    monkeypatch.setattr(loss.LossOf, "_inputs", leaky)
    model.set_attn_implementation("sdpa")
    finding = measured.check_packing(docs, of, model)
    assert finding.verdict == "refused"
    assert "they see each other" in finding.sentence


def test_a_tokenizer_beyond_the_weights_is_refused(
    models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    config = LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=CONTEXT,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "small")
    AutoTokenizer.from_pretrained(models["llama"]).save_pretrained(tmp_path / "small")
    data = recipe_data(corpus, base_model=str(tmp_path / "small"))
    refused(data, tmp_path, "vocabulary", "but the model knows only 300")


def test_weights_that_know_less_than_nothing_of_the_tokens_are_warned_of(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded model with its tokenizer's pieces shuffled."""
    import random

    base = Path(shutil.copytree(models_room.resolve("embedded"), tmp_path / "base"))
    told = json.loads((base / "tokenizer.json").read_text("utf-8"))
    known: dict[str, int] = told["model"]["vocab"]
    numbers = [n for n in known.values() if n > 2]
    random.Random(0).shuffle(numbers)
    shuffled = iter(numbers)
    told["model"]["vocab"] = {k: n if n <= 2 else next(shuffled) for k, n in known.items()}
    (base / "tokenizer.json").write_text(json.dumps(told), encoding="utf-8")
    monkeypatch.setattr(measured, "check_accumulation", lambda *_: ok("accumulation", "slow"))
    monkeypatch.setattr(measured, "check_gradients", lambda *_: ok("gradients", "slow"))
    for model, verdict in (("embedded", "ok"), (str(base), "warning")):
        data = recipe_data(corpus, base_model=model, sequence_length=1024, steps=20)
        examined = look(data, tmp_path)
        assert verdicts(examined)["first loss"] == verdict
    assert "less than nothing" in sentence(examined, "first loss")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schedule": {"warmup": 1.0}}, "never comes down"),
        ({"schedule": {"warmup": 0.6}}, "60% of the run"),
        ({"schedule": {"name": "wsd", "warmup": 0.5, "decay": 0.7}}, "overlap"),
        ({"steps": 3}, "only 3 optimiser steps"),
        ({"steps": 100, "schedule": {"warmup": 0.005}}, "less than one of 100 steps"),
        ({"steps": 15, "epochs": 3}, "before epochs does"),
        ({"steps": 900}, "each story 45 times"),
    ],
)
def test_schedules_that_do_not_fit_their_run_are_warned_of(
    changes: dict[str, Any], words: str, corpus: Path
) -> None:
    recipe = Recipe.model_validate(recipe_data(corpus, **{"steps": 60, **changes}))
    finding = settings.check_schedule(recipe, 20.0)
    assert finding.verdict == "warning"
    assert words in finding.sentence


# In `train` and on the command line.


def test_the_doctor_leaves_no_trace_in_the_weights(
    models: dict[str, Path], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the random state either: with dropout, weights are bitwise the same without it."""
    from safetensors.torch import load_file

    data = recipe_data(
        corpus, base_model=str(models["llama"]), method="qlora", lora={"dropout": 0.2}
    )
    found = []
    for name in ("with", "without"):
        if name == "without":
            monkeypatch.setattr(gate, "stories", lambda *_: None)
        outcome = train(Recipe.model_validate({**data, "name": name}), tmp_path, False, Announce())
        assert outcome.model is not None
        found.append(load_file(outcome.model / "adapter_model.safetensors"))
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


@pytest.fixture
def fabula(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run `fabula doctor` on recipe data; returns the exit code."""

    def call(data: dict[str, Any], *options: str) -> int:
        recipe = tmp_path / "r.yaml"
        recipe.write_text(yaml.safe_dump(data))
        argv = ["fabula", "doctor", str(recipe), "--runs", str(tmp_path / "runs"), *options]
        monkeypatch.setattr(sys, "argv", [*argv, "--threads", "1"])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return call


def test_the_command_shows_a_batch_and_the_checks(
    fabula: Any, corpus: Path, models: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data = recipe_data(corpus, base_model=str(models["llama"]), method="lora", steps=20)
    assert fabula(data, "--documents", "1", "--tokens", "4000") == 0
    out = capsys.readouterr().out
    for words in (BEGIN, END, "▶# outline", "loss in nats", "Nothing forbids this run"):
        assert words in out
    assert not (Path("runs") / "tiny").exists()


def test_the_command_refuses_with_1_and_prints_one_object(
    fabula: Any, corpus: Path, models: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data = recipe_data(corpus, base_model=str(models["llama"]), sequence_length=400)
    assert fabula(data, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["refused"]
    (bad,) = [f for f in told["findings"] if f["verdict"] == "refused"]
    assert bad["check"] == "endings"
    assert bad["figures"]["dropped"] > 20
    assert told["batch"][0]["learnt"] > 0
    assert fabula(recipe_data(corpus / "none")) == 2
    assert "no corpus folder" in capsys.readouterr().err


def test_a_model_that_cannot_be_opened_leaves_the_checks_of_its_data(
    fabula: Any,
    corpus: Path,
    models: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = Path(shutil.copytree(models["llama"], tmp_path / "base"))
    (base / "model.safetensors").unlink()
    data = recipe_data(corpus, base_model=str(base), method="qlora", steps=20)
    assert fabula(data, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    skipped = {f["check"] for f in told["findings"] if f["verdict"] == "skipped"}
    assert skipped == MEASURED
    assert told["batch"][0]["loss"] is None
    missing = look(recipe_data(corpus, base_model="nobody/nothing", steps=20), tmp_path)
    assert {"labels", "tokenizer", *MEASURED} <= {
        f.check for f in missing.findings if f.verdict == "skipped"
    }
    assert verdicts(missing)["splits"] == "ok"


def test_weights_that_do_not_fit_the_machine_are_not_opened(
    corpus: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fabula.training.doctor import examine as room

    monkeypatch.setattr(room, "_free", lambda: 100_000.0)
    told = look(recipe_data(corpus, base_model=str(models["llama"]), steps=20), tmp_path)
    said = [f.found for f in told.findings if f.verdict == "skipped"]
    assert len(said) == len(MEASURED)
    assert "GiB, of which" in said[0]


def test_the_page_loads_nothing_and_escapes_everything(
    corpus: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    nasty = '<script>alert(1)</script> & "x" \x1b[31m'
    path = tmp_path / "pairs.jsonl"
    lines = [
        {"id": nasty, "prompt": f"Place: {n}\n\n", "chosen": nasty, "rejected": f"{nasty} no"}
        for n in range(30)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = {"preferences": {"pairs": str(path), "held_out": 0.3}, "data": [], "augmentation": {}}
    page = make_page(look(recipe_data(corpus, base_model=str(models["llama"]), **given), tmp_path))
    assert "<script" not in page
    assert "\x1b" not in page
    assert "default-src 'none'" in page
    assert not any(word in page for word in ("http:", "https:", "src=", "url("))
    assert page.count('class="l') > 50
    assert "chosen" in page
    assert "fine" in page


def test_ids_that_stand_twice_are_told_apart(corpus: Path, tokenizer_folder: Path) -> None:
    """A story that an epoch shows twice has two prompts, each with its own border."""
    data = recipe_data(corpus, data=[{"corpus": str(corpus), "repeat": 2}])
    recipe = Recipe.model_validate(data)
    tokenizer = open_tokenizer(str(tokenizer_folder))
    stream = packing.Stream(
        packing.open_deck(recipe), tokenizer, tokenizer.pad, recipe, packing.Cursor()
    )
    batches, _, dropped = texts.stories(stream, tokenizer)
    seen = [text for batch in batches for text in batch]
    assert len(seen) + dropped == 80
    assert len({t.name for t in seen}) < len(seen)
    for text in seen:
        assert all(w == 0 for w in text.weights[: text.prompt])
        assert all(w == 1 for w in text.weights[text.prompt :])
