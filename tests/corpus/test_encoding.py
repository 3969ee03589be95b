"""What is known of a text's characters without ftfy is what ftfy would say."""

from __future__ import annotations

import re

import ftfy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fabula.corpus.encoding import fix_encoding, has_controls, squeeze

INVISIBLE = re.compile("[\u00ad\u200a-\u200d\u2060\ufeff]")
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Letters, quotes, dashes and layout of the short cut, and what is just outside of it.
CHARACTERS = st.sampled_from(
    list("aZ5 .,?'\"<\n\t")
    + list("éàçôüÉÂÃâœ\u0153")
    + list("‘’‚‛“”„‟ʼ–—…")
    + list("\u00a0\u00ad\u200a\u200b\u2060\ufeff\u0301€™°²»«ﬁＡ\u2028\x85\r\x00")
)


def by_ftfy(text: str) -> str:
    fixed = ftfy.fix_text(text, uncurl_quotes=True, normalization="NFC")
    return INVISIBLE.sub("", CONTROL.sub(" ", fixed))


@given(st.text(CHARACTERS, max_size=60))
@example("“Où est-ce…” dit-il — l’été “é”")
@example("â€œYes,â€\u009d he said — cafÃ©\nand “no”")
@example("é”a “à” ")
@example("“ß”\n&eacute; é\n“x” &lt;")
def test_the_short_cut_says_what_ftfy_says(text: str) -> None:
    expected = by_ftfy(text)
    # Entities and lost bytes that ftfy leaves are mended beyond it.
    if "&" not in expected and "â€" not in expected:
        assert fix_encoding(text) == expected


@given(st.text(max_size=200))
def test_any_text_is_as_by_ftfy(text: str) -> None:
    expected = by_ftfy(text)
    if "&" not in expected and "â€" not in expected:
        assert fix_encoding(text) == expected


@pytest.mark.parametrize("control", ["\x00", "\x0b", "\x1b", "\x7f", "\r"])
def test_controls_are_seen(control: str) -> None:
    assert has_controls(f"a{control}b")
    assert has_controls(f"é{control}b")
    assert not has_controls("a\tb\nc")
    assert not has_controls("é\tb\nc")


@given(st.text(st.sampled_from("ab \t\n\u00a0\u3000\x0b"), max_size=40))
def test_squeezing_leaves_single_spaces(text: str) -> None:
    slow = re.sub(r" *\n *", "\n", re.sub(r"[^\S\n]+", " ", text)).strip()
    assert squeeze(text) == slow
