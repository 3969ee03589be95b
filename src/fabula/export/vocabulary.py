"""A tokenizer as GGUF has it: pieces, their kinds, and how text is parted before merging.

llama.cpp computes two of the kinds that story models use, and both are written here only where it
computes the very same ids:

- "gpt2", byte-level BPE: ranked merges, and one of llama.cpp's own ways of parting text into
  words (`tokenizer.ggml.pre`), told from the pre-tokenizer that the model's tokenizer.json has;
- "llama", SentencePiece's BPE: no merges, but a score for each piece. llama.cpp joins those
  neighbours whose joint piece scores best; a tokenizer.json has ranked merges instead. Both say the
  same where every way to part a piece into two pieces is a merge, and where all merges that give a
  piece stand together; then the rank of a piece's first merge, negated, is its score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fabula.engines.shape import read_json
from fabula.engines.tokens import Tokens
from fabula.errors import FabulaError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of pieces, as GGUF numbers them."""
SPACE = "\u2581"
NEVER = -1e6
"""Score of what is not made by joining pieces."""

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_PATTERNS = {LLAMA3: "llama-bpe", QWEN2: "qwen2"}
ELSEWHERE = (
    "llama.cpp's own convert_hf_to_gguf.py may know it: run it on the merged folder (leave --gguf "
    "out here)"
)


@dataclass(frozen=True)
class Vocabulary:
    """What a GGUF says of a tokenizer.

    Attributes:
        kind: "gpt2" or "llama", the names that llama.cpp gives to byte-level and SentencePiece BPE.
        pre: llama.cpp's name for how text is parted into words.
        pieces: of each id, as many as the embedding has rows.
        kinds: of each piece.
        scores: of each piece ("llama" only).
        merges: "left right", the first one first ("gpt2" only).
        bos, eos, pad, unknown: special ids.
        space_first: whether a space is put before a text.
    """

    kind: str
    pre: str
    pieces: list[str]
    kinds: list[int]
    eos: int
    bos: int | None = None
    pad: int | None = None
    unknown: int | None = None
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    space_first: bool = False


def read_vocabulary(folder: Path, config: dict[str, Any], rows: int) -> Vocabulary:
    """The tokenizer of a model folder, for GGUF.

    Args:
        config: the folder's config.json.
        rows: of the embedding.

    Raises:
        FabulaError: llama.cpp would read text otherwise than it does.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise FabulaError(f"'{folder}' has no tokenizer.json, which a GGUF is made from.")
    data = read_json(path)
    model = _part(data, "model")
    vocabulary = model.get("vocab")
    if model.get("type") != "BPE" or not isinstance(vocabulary, dict):
        raise _unlike(folder, f"is a {model.get('type') or 'model of unknown type'}, not a BPE")
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise _unlike(folder, f"has {key} = {model[key]!r}")
    bos, eos = Tokens.open(folder).special(folder, config)
    pieces, kinds = _pieces(data, vocabulary, rows, folder)
    merges = _merges(model, folder)
    pad = config.get("pad_token_id")
    pad = pad if isinstance(pad, int) and 0 <= pad < rows else None
    if model.get("byte_fallback"):
        unknown = vocabulary.get(model.get("unk_token"))
        for n in range(256):
            if (id_ := vocabulary.get(f"<0x{n:02X}>")) is None:
                raise _unlike(folder, f"has no piece for the byte {n}")
            kinds[id_] = BYTE
        if unknown is not None:
            kinds[unknown] = UNKNOWN
        return Vocabulary(
            kind="llama",
            pre="default",
            pieces=pieces,
            kinds=kinds,
            bos=bos,
            eos=eos,
            pad=pad,
            unknown=unknown,
            scores=_scores(pieces, kinds, merges, folder),
            space_first=_space_first(data, folder),
        )
    return Vocabulary(
        kind="gpt2",
        pre=_pre(data, bool(model.get("ignore_merges")), folder),
        pieces=pieces,
        kinds=kinds,
        bos=bos,
        eos=eos,
        pad=pad,
        merges=[f"{left} {right}" for left, right in merges],
    )


def _part(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _unlike(folder: Path, what: str) -> FabulaError:
    return FabulaError(
        f"The tokenizer of '{folder}' {what}, and llama.cpp would not read text as it does: "
        f"{ELSEWHERE}."
    )


def _pieces(
    data: dict[str, Any], vocabulary: dict[str, int], rows: int, folder: Path
) -> tuple[list[str], list[int]]:
    """Text and kind of each id; rows that no token has are named as unused."""
    pieces = [f"[PAD{n}]" for n in range(rows)]
    kinds = [UNUSED] * rows
    added = [a for a in data.get("added_tokens") or [] if isinstance(a, dict)]
    entries = [(n, text, NORMAL) for text, n in vocabulary.items()]
    entries += [
        (a["id"], a["content"], CONTROL if a.get("special") else USER_DEFINED) for a in added
    ]
    for n, text, kind in entries:
        if n >= rows:
            raise FabulaError(
                f"The tokenizer of '{folder}' has the id {n}, but its weights only {rows} rows: "
                "they do not belong together."
            )
        pieces[n], kinds[n] = text, kind
    return pieces, kinds


def _merges(model: dict[str, Any], folder: Path) -> list[tuple[str, str]]:
    merges = []
    for merge in model.get("merges") or []:
        left, _, right = (
            merge.partition(" ") if isinstance(merge, str) else (merge[0], "", merge[1])
        )
        if not left or not right or " " in left + right:
            raise _unlike(folder, f"has the merge {merge!r}")
        merges.append((left, right))
    return merges


def _steps(part: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The steps of a pre-tokenizer or normalizer, a sequence or not."""
    if not part:
        return []
    return list(part[key]) if part.get("type") == "Sequence" else [part]


def _pre(data: dict[str, Any], whole_words: bool, folder: Path) -> str:
    """llama.cpp's name for a byte-level tokenizer's way of parting text.

    Args:
        whole_words: whether a word that is a piece is taken without merging.
    """
    steps = _steps(_part(data, "pre_tokenizer"), "pretokenizers")
    kinds = [step.get("type") for step in steps]
    last = steps[-1] if steps else {}
    if not steps or kinds[-1] != "ByteLevel" or last.get("add_prefix_space", True):
        raise _unlike(folder, "is no byte-level BPE without a space put in front")
    normal = [step.get("type") for step in _steps(_part(data, "normalizer"), "normalizers")]
    own_words = bool(last.get("use_regex", True))
    name = None
    if kinds == ["ByteLevel"] and own_words:
        name = "gpt-2"
    elif kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and own_words:
        # "smollm" and others have the same patterns in llama.cpp; by this name Ollama's own engine
        # has them too.
        name = "refact"
    elif kinds == ["Split", "ByteLevel"] and not own_words:
        pattern = _part(steps[0], "pattern").get("Regex")
        if steps[0].get("behavior") == "Isolated" and not steps[0].get("invert"):
            name = _PATTERNS.get(str(pattern))
    if name is None:
        raise _unlike(folder, f"parts text into words by {' and '.join(map(str, kinds))}")
    # Where text is composed already, as keyboards write it, NFC changes nothing.
    if normal and not (normal == ["NFC"] and name == "qwen2"):
        raise _unlike(folder, f"changes text before it reads it ({', '.join(map(str, normal))})")
    if whole_words != (name == "llama-bpe"):
        raise _unlike(folder, f"has ignore_merges = {whole_words}")
    return name


def _space_first(data: dict[str, Any], folder: Path) -> bool:
    """Whether a SentencePiece tokenizer puts a space before a text.

    A text that begins with a space gets another in llama.cpp, and not in every tokenizer.json; no
    text of our format begins with one.
    """
    normal = _steps(_part(data, "normalizer"), "normalizers")
    words = _steps(_part(data, "pre_tokenizer"), "pretokenizers")
    said = [step.get("type") for step in normal + words]
    replaced = normal and (
        _part(normal[-1], "pattern").get("String") == " " and normal[-1].get("content") == SPACE
    )
    if said == ["Prepend", "Replace"] and replaced and normal[0].get("prepend") == SPACE:
        return True
    if said == ["Replace"] and replaced:
        return False
    if said == ["Metaspace"] and words[0].get("replacement") == SPACE and not words[0].get("split"):
        return bool(words[0].get("prepend_scheme", "always") != "never")
    raise _unlike(folder, f"prepares text by {', '.join(map(str, said)) or 'nothing'}")


def _scores(
    pieces: list[str], kinds: list[int], merges: list[tuple[str, str]], folder: Path
) -> list[float]:
    """A score for each piece by which llama.cpp joins pieces in the order of the merges.

    Raises:
        FabulaError: no scores can say what these merges say.
    """
    ranks: dict[str, int] = {}
    last: dict[str, int] = {}
    ways: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        piece = left + right
        ranks.setdefault(piece, rank)
        last[piece] = rank
        ways[piece] = ways.get(piece, 0) + 1
    if any(last[piece] - ranks[piece] + 1 != count for piece, count in ways.items()):
        raise _unlike(folder, "joins one piece sometimes earlier and sometimes later")
    known = set(pieces)
    scores = [NEVER] * len(pieces)
    for n, (piece, kind) in enumerate(zip(pieces, kinds, strict=True)):
        if kind != NORMAL:
            continue
        splits = sum(piece[:i] in known and piece[i:] in known for i in range(1, len(piece)))
        if splits != ways.get(piece, 0):
            raise _unlike(folder, f"does not join all pieces that make up '{piece}'")
        scores[n] = -float(ranks.get(piece, len(merges)))
    return scores
