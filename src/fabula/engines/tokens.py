"""Plain text to token ids and back, and the ids that open and close a document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fabula.engines.protocol import Ids
from fabula.engines.shape import read_json
from fabula.errors import FabulaError


class Tokens:
    """A tokenizer that adds no special token and reads none out of text."""

    def __init__(self, tokenizer: Any) -> None:
        """Take a `tokenizers.Tokenizer`, and make it plain."""
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # What a reader types is never a boundary, not even '<|end|>' letter by letter.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer

    @classmethod
    def open(cls, folder: Path) -> Tokens:
        """The tokenizer of a model folder.

        Raises:
            FabulaError: there is none, or it is damaged.
        """
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise FabulaError(f"The model folder '{folder}' has no tokenizer.json.")
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # the library raises bare Exceptions
            raise FabulaError(f"'{path}' is damaged ({error}); fetch it again.") from None

    def check(self, vocabulary: int, folder: Path | str) -> None:
        """Refuse a tokenizer that knows more tokens than the weights have rows.

        Raises:
            FabulaError: it does.
        """
        size = self._tokenizer.get_vocab_size()
        if size > vocabulary:
            raise FabulaError(
                f"The tokenizer of '{folder}' knows {size} tokens, but its weights only "
                f"{vocabulary}: they do not belong together."
            )

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text: no special token is added, and none can be typed."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Ids) -> str:
        """Text of token ids; special tokens are dropped."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def special(self, folder: Path, config: dict[str, Any]) -> tuple[int | None, int]:
        """Beginning- and end-of-sequence ids, as `AutoTokenizer` would say them.

        `tokenizer_config.json` names the tokens; where it is silent `config.json` has the ids.
        GPT-2 has one token for both, and its documents begin and end with it.

        Raises:
            FabulaError: there is no end-of-sequence token.
        """
        path = folder / "tokenizer_config.json"
        told = read_json(path) if path.is_file() else {}

        def find(kind: str) -> int | None:
            named = told.get(f"{kind}_token", "")
            if isinstance(named, dict):
                named = named.get("content")
            if named is None:
                return None
            if isinstance(named, str) and named:
                found: int | None = self._tokenizer.token_to_id(named)
                if found is None:
                    raise FabulaError(f"'{path}': the tokenizer does not know '{named}'.")
                return found
            value = config.get(f"{kind}_token_id")
            value = value[0] if isinstance(value, list) and value else value
            return value if isinstance(value, int) and value >= 0 else None

        eos = find("eos")
        if eos is None:
            raise FabulaError(
                f"The model folder '{folder}' names no end-of-sequence token: put 'eos_token' "
                "into its tokenizer_config.json."
            )
        return find("bos"), eos
