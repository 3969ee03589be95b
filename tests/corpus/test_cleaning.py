"""From what people post to stories: notes, markup, encodings, line ends, prompt tags."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_stories import story

from fabula.corpus.clean import clean_text, unwrap
from fabula.corpus.prompts import clean_prompt, clean_title

BODY = story(1)
LINES = BODY.replace("\n\n", "\n")


@pytest.mark.parametrize(
    "note",
    [
        "Edit: typos",
        "EDIT 2: wow, thanks for the gold, kind stranger!",
        "*[Edit: fixed some grammar]*",
        "Thanks for reading! More stories at r/madeupsub.",
        "(First time posting here, constructive criticism is welcome.)",
        "---\nHope you enjoyed it. Sorry for the formatting, I'm on mobile.",
        "***\n/r/madeupsub",
        "Part 2 coming soon if anyone wants it.",
        "[Read the rest here](https://example.org/story)",
        "https://example.org/story",
        "The End",
        "Edit: formatting\nEdit 2: part two is below",
        "E: two typos",
        "Edited for spacing",
        "-042",
        "More by me\n: p",
        "/u/madeupname",
        "Mobile formatting is awful, I'm sorry.",
        "This is my first story in English, so please be gentle. Tell me of mistakes.",
        "First timer, hope it wasn't too terrible.",
        "Hooray for doing prompts and not my homework!",
        "That's the best I could do before breakfast.",
        "{Not the most original of stories, but I had fun writing it.}",
        "(I'm sorry if this seems like a child wrote it, my grammar is bad)",
        "Note from the author: it was late, but I'll post it anyway.",
        "Written in ten minutes.",
        "TL;DR the goose wins.",
        "(Like my writing? Check out more at madeup.example)",
    ],
)
def test_notes_after_a_story_go(note: str) -> None:
    cleaned = clean_text(f"{LINES}\n\n{note}", web=True)
    assert cleaned.text == BODY
    assert cleaned.reason is None
    assert cleaned.trims


@pytest.mark.parametrize(
    "note",
    [
        "This is my first post here, so be gentle.",
        "*Author's note: not quite what the prompt asked.*",
        "/u/somebody wrote the beginning, credit to them.",
        "Inspired by a song; hope you enjoy it!\n---",
        "[Original post](https://example.org/story)",
        "(This actually happened to me)",
        "[Lots of coarse language, lots of it]",
        "(My first story on here, please bear with me!)",
        "Apologies for the extremely basic rhyme style:",
        "I don't know if this is what you were looking for, but it came to me at once.",
        "Well, this blew up a bit more than I expected.",
        "Someone deleted the comment that I was answering.",
        "Warning: Horror & Gore.",
        "Best I got:",
        "[OT]",
    ],
)
def test_notes_before_a_story_go(note: str) -> None:
    cleaned = clean_text(f"{note}\n\n{LINES}", web=True)
    assert cleaned.text == BODY
    assert "note before the story" in cleaned.trims


@pytest.mark.parametrize(
    "paragraph",
    [
        '"Thanks for reading my palm," said Odalys, and paid.',
        "She had to edit: the letter was too long for one stamp.",
        "I was reading Reddit when the kettle began to speak.",
        "P.S. Your goose has been found. Come and fetch it.",
        "He hoped that nobody would ask about the saddle.",
        "On my phone there were nine messages from the mayor.",
        "(He had written to her every day for a year.)",
        "The moral of this story is plain, said the goose.",
        "From the prompt box came a whisper that nobody should have heard.",
        "She was a writer, and not a good one, but she was gentle.",
        "-7 was what the glass showed, and it fell.",
    ],
)
def test_paragraphs_of_a_story_stay(paragraph: str) -> None:
    for text in (f"{paragraph}\n\n{LINES}", f"{LINES}\n\n{paragraph}"):
        assert paragraph in clean_text(text, web=True).text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[removed]", "post was removed or deleted"),
        ("[ deleted ]", "post was removed or deleted"),
        ("**Off-Topic Discussion**: All top-level comments must be a story.", "moderators' post"),
        ("I am a bot, and this action was performed automatically.", "moderators' post"),
        (f"{LINES}\n\nTo be continued...", "author says it is unfinished"),
        (f"{LINES}\n\n(continued in comments)", "author says it is unfinished"),
        (f"{LINES}\n\n(To be continued, when I'm not at work)", "author says it is unfinished"),
        (f"{LINES}\n\n(I'll finish this up when I'm home)", "author says it is unfinished"),
        (f"{LINES}\n\nToo tired to finish this story.", "author says it is unfinished"),
        (f"Part two\n\n{LINES}", "continues another post"),
        (
            f"I really liked your story. The ending was fine.\n\n{LINES}",
            "comments on another's story",
        ),
        (" \n\t\n ", "text is empty"),
        ("---\n***", "text is empty"),
    ],
)
def test_posts_that_are_no_story_fall(text: str, reason: str) -> None:
    assert clean_text(text, web=True).reason == reason


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("**Bram** said _no_.", "Bram said no."),
        ("See [the mill](https://example.org/a_(b)) now.", "See the mill now."),
        ("See [ the mill ] ( http: //example.org/a ) now.", "See the mill now."),
        ("Go to https://example.org/x?y=1 at once.", "Go to at once."),
        ("> He wrote this.", "He wrote this."),
        ("# A Heading", "A Heading"),
        ("^tiny ^words", "tiny words"),
        ("Tom &amp; Bram", "Tom & Bram"),
        ("Tom & nbsp; Bram", "Tom Bram"),
        ("\u00e2\u20ac\u0153Yes,\u00e2\u20ac\u009d she said", '"Yes," she said'),
        ("caf\u00c3\u00a9", "café"),
        ("\u201cIt\u2019s late\u201d", '"It\'s late"'),
        ("soft\u00adhyphen, zero\u200bwidth", "softhyphen, zerowidth"),
        ("too   many\t spaces", "too many spaces"),
        ("bell\x07 and escape\x1b[0m", "bell and escape"),
        ('"Frank! " said Mum. " Come in."', '"Frank!" said Mum. "Come in."'),
    ],
)
def test_marks_of_the_web_go(dirty: str, clean: str) -> None:
    assert clean_text(dirty, web=True).text == clean


def test_the_authors_last_sentences_are_cut_from_the_last_paragraph() -> None:
    last = BODY.rsplit("\n\n", 1)[-1]
    assert last[-1] in ".!?"
    for note in ("P.S. Still new to writing, so bear with me.", "Will post more after class."):
        cleaned = clean_text(f"{LINES} {note}", web=True)
        assert cleaned.text == BODY
        assert cleaned.trims == ["note after the story"]
    spoken = f'{LINES}\n\n"Sit down," he said, "and be quiet. I hope you enjoy my story."'
    assert clean_text(spoken, web=True).text.endswith('I hope you enjoy my story."')


def test_smiles_keep_their_space() -> None:
    text = clean_text("You will see.:) And then: p", web=True).text
    assert text == "You will see. :) And then :p"


def test_verse_keeps_its_lines() -> None:
    verse = (
        "As I went down the river road\nto see the ships come in,\n"
        "I met a man who bore a load\nof copper pots and tin.\n"
        "He said the sea was far too wide\nfor anyone to sail,\n"
        "and so he sat on the other side\nand sang into the gale."
    )
    assert clean_text(verse, web=True).text.count("\n\n") == 7
    long = "He walked to the edge of the town where the river was wide <newline> "
    published = long + " <newline> ".join(
        ["and saw that the boats were all of them gone from it"] * 6
    )
    assert clean_text(published, published=True).text.count("\n\n") == 6


def test_plain_sources_keep_their_marks() -> None:
    text = "A footnote * stands here.\n\n> not a quotation"
    assert clean_text(text).text == text
    assert clean_text("He *really* ran.").text == "He really ran."


def test_paragraphs_are_kept() -> None:
    assert clean_text("One.\nTwo.\n\n\nThree.\r\nFour.").text == "One.\n\nTwo.\n\nThree.\n\nFour."


def test_hard_wrapped_lines_are_joined() -> None:
    wrapped = (
        "The miller of the upper valley had a wheel that turned the wrong\n"
        "way, and nobody in the village could say why it did so, or when\n"
        "it had begun.\n"
        '"Leave it," said his wife, who liked the sound it made at night\n'
        "and would not have it changed.\n\n"
        "One day the wheel stood still and the whole house woke up at the\n"
        "silence."
    )
    assert clean_text(wrapped).text.count("\n\n") == 2
    assert "the wrong way, and nobody" in clean_text(wrapped).text
    assert unwrap(LINES) == LINES


def test_project_gutenbergs_frame_goes() -> None:
    framed = (
        "The Project Gutenberg eBook of Kites\n\n"
        "*** START OF THE PROJECT GUTENBERG EBOOK KITES ***\n"
        f"\n{BODY}\n\n*** END OF THE PROJECT GUTENBERG EBOOK KITES ***\nLicence, at length."
    )
    assert clean_text(framed).text == BODY


@pytest.mark.parametrize(
    ("prompt", "expected", "tag"),
    [
        ("[ WP ] A clock runs backwards .", "A clock runs backwards.", "WP"),
        ("[wp] A clock.", "A clock.", "WP"),
        ("[WP][CW] A clock, without an E.", "A clock, without an E.", "WP CW"),
        ("(EU) A clock.", "A clock.", "EU"),
        ("A clock. [PI]", "A clock.", "PI"),
        ("WP: A clock.", "A clock.", "WP"),
        ("[ WP/CS ] A clock .", "A clock.", "WP/CS"),
        ("A clock (not a watch) stops.", "A clock (not a watch) stops.", None),
        ("[WP] `` Stop the clock ! ''", '"Stop the clock!"', "WP"),
        ("[WP]", None, "WP"),
        ("WP A clock stops.", "A clock stops.", "WP"),
        ("WPs are not tags.", "WPs are not tags.", None),
        ("[X-Post from /r/madeup] A clock stops.", "A clock stops.", None),
        ("[Insert name] stops a clock.", "[Insert name] stops a clock.", None),
        ("[ NANO ] A clock stops .", "A clock stops.", "NANO"),
        ("A clock stops. (NSFW)", "A clock stops.", "NSFW"),
        ("{EU} A clock.", "A clock.", "EU"),
        ('She said"Stop". It did.', 'She said "Stop". It did.', None),
    ],
)
def test_prompt_tags_become_data(prompt: str, expected: str | None, tag: str | None) -> None:
    assert clean_prompt(prompt) == (expected, tag)


def test_titles() -> None:
    assert clean_title("the old man of the sea") == "The Old Man of the Sea"
    assert clean_title("The  Old\nMan") == "The Old Man"
    assert clean_title(" \n") is None


@given(st.text(max_size=400), st.booleans(), st.booleans())
def test_no_text_breaks_the_cleaning(text: str, published: bool, web: bool) -> None:
    cleaned = clean_text(text, published, web)
    assert (cleaned.reason is None) == bool(cleaned.text)
    assert "\n\n\n" not in cleaned.text
    assert cleaned.text == cleaned.text.strip()
    assert not set(cleaned.text) & set("\x00\r\x1b⟨")


@given(st.integers(0, 10_000))
def test_cleaning_twice_changes_nothing(number: int) -> None:
    once = clean_text(story(number), web=True).text
    assert clean_text(once, web=True).text == once == story(number)
