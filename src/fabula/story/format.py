r"""The ONE text format: how every model sees a brief, an outline and a story.

    Protagonist: Mara, shy, stubborn
    Place: a lighthouse
    Genre: ghost story
    Must include: a broken clock, the lamp

    # outline
    exposition: Mara keeps the light alone.
    climax: The clock strikes though it is broken.
    # exposition
    Mara wound the clock every night ...
    # climax
    ...

Plain text, so that no token need be added to a base model. The brief ends at its blank line,
the document at the model's end-of-sequence token. Nothing a reader types can forge a tag or a
boundary: values stand on one line with backslash escapes (``\n`` newline, ``\,`` comma, ``\\``),
and a line of a passage that starts with ``#`` or a backslash gets one more backslash in front.
Only "\n" parts lines; other line-like characters are ordinary text.

A document splits into *prompt* (never learnt from) and *completion* (learnt), built apart and
joined as strings: ``prompt + completion``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fabula.errors import FabulaError
from fabula.story.brief import ROLES, Brief, Character, Setting
from fabula.story.story import Beat, Outline, Passage

PREMISE_TAG = "Premise"
OUTLINE_HEADING = "# outline\n"

_ROLE_OF_TAG = {role.capitalize(): role for role in ROLES}
_TEXT_TAGS = {
    "Title": "title",
    "Genre": "genre",
    "Tone": "tone",
    "Arc": "arc",
    "Ending": "ending",
    "Point of view": "point_of_view",
    "Theme": "theme",
    "Premise": "premise",
}


def escape(value: str) -> str:
    r"""Make a value fit on one line, as one item of a comma-separated list."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace(",", "\\,")


def _escape_text(value: str) -> str:
    """Like `escape`, for a value that is alone on its line: commas stay readable."""
    return value.replace("\\", "\\\\").replace("\n", "\\n")


_UNESCAPE = re.compile(r"\\(.)", re.DOTALL)


def unescape(value: str) -> str:
    """Undo `escape`."""
    return _UNESCAPE.sub(lambda m: "\n" if m[1] == "n" else m[1], value)


def _split_list(value: str) -> list[str]:
    """Split at commas that no backslash guards, and unescape the items."""
    items, start, i = [], 0, 0
    while i < len(value):
        if value[i] == "\\":
            i += 2
            continue
        if value[i] == ",":
            items.append(value[start:i])
            start = i + 1
        i += 1
    items.append(value[start:])
    return [unescape(item.strip(" ")) for item in items]


def render_brief(brief: Brief) -> str:
    """The prompt: one tag a line, closed by a blank line."""
    lines = []
    if brief.title is not None:
        lines.append(f"Title: {_escape_text(brief.title)}")
    for character in brief.characters:
        items = [escape(character.name or ""), *map(escape, character.traits)]
        lines.append(f"{character.role.capitalize()}: {', '.join(items)}")
    if brief.setting is not None:
        if brief.setting.place is not None:
            lines.append(f"Place: {_escape_text(brief.setting.place)}")
        if brief.setting.time is not None:
            lines.append(f"Time: {_escape_text(brief.setting.time)}")
    for tag in ("Genre", "Tone", "Arc", "Ending", "Point of view", "Theme"):
        value = getattr(brief, _TEXT_TAGS[tag])
        if value is not None:
            lines.append(f"{tag}: {_escape_text(value)}")
    if brief.must_include:
        lines.append(f"Must include: {', '.join(map(escape, brief.must_include))}")
    if brief.length is not None:
        lines.append(f"Length: {brief.length}")
    if brief.premise is not None:
        lines.append(f"{PREMISE_TAG}: {_escape_text(brief.premise)}")
    return "".join(line + "\n" for line in lines) + "\n"


def parse_brief(text: str) -> Brief:
    """Undo `render_brief`.

    Raises:
        FabulaError: a line is not a tag of the format.
    """
    fields: dict[str, object] = {}
    characters: list[Character] = []
    setting: dict[str, str] = {}
    for number, line in enumerate(text.rstrip("\n").split("\n") if text.strip("\n") else [], 1):
        tag, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if colon and tag in _ROLE_OF_TAG:
            name, *traits = _split_list(value)
            characters.append(
                Character.model_validate(
                    {"name": name or None, "role": _ROLE_OF_TAG[tag], "traits": traits}
                )
            )
        elif colon and tag in ("Place", "Time"):
            setting[tag.lower()] = unescape(value)
        elif colon and tag in _TEXT_TAGS:
            fields[_TEXT_TAGS[tag]] = unescape(value)
        elif colon and tag == "Must include":
            fields["must_include"] = _split_list(value)
        elif colon and tag == "Length" and value.isdecimal():
            fields["length"] = int(value)
        else:
            raise FabulaError(f"Line {number} of the brief, '{line[:60]}', is not a tag.")
    if setting:
        fields["setting"] = Setting.model_validate(setting)
    return Brief.model_validate({**fields, "characters": characters})


def render_premise(premise: str) -> str:
    """The premise, where the model has to find it: first line of the completion."""
    return f"{PREMISE_TAG}: {_escape_text(premise)}\n"


def render_beat(beat: Beat) -> str:
    """One line of the outline."""
    return f"{beat.beat}: {_escape_text(beat.summary)}\n"


def render_outline(outline: Outline) -> str:
    """The outline under its heading."""
    return OUTLINE_HEADING + "".join(map(render_beat, outline.beats))


def heading(beat: str) -> str:
    """The line that opens a beat's passage."""
    return f"# {beat}\n"


def escape_passage(text: str) -> str:
    """Guard lines of a passage that would read as a heading."""
    if "#" not in text and "\\" not in text:
        return text
    return "\n".join("\\" + ln if ln.startswith(("#", "\\")) else ln for ln in text.split("\n"))


def unescape_passage(text: str) -> str:
    """Undo `escape_passage`."""
    return "\n".join(ln[1:] if ln.startswith("\\") else ln for ln in text.split("\n"))


def render_passage(passage: Passage) -> str:
    """One passage under its heading, closed by a newline."""
    return _passage_lines(passage.beat, passage.text)


def _passage_lines(beat: str, text: str) -> str:
    return heading(beat) + escape_passage(text) + "\n"


def render_completion(
    outline: Outline | None, passages: list[Passage], premise: str | None = None
) -> str:
    """What a model has to write after the brief; the end-of-sequence token follows it."""
    return (
        (render_premise(premise) if premise is not None else "")
        + (render_outline(outline) if outline is not None else "")
        + "".join(map(render_passage, passages))
    )


def render_beats(names: Sequence[str], summaries: Sequence[str], texts: Sequence[str]) -> str:
    """`render_completion` of beats that are plain strings, as many of each."""
    lines = (f"{name}: {_escape_text(s)}\n" for name, s in zip(names, summaries, strict=True))
    passages = map(_passage_lines, names, texts)
    return OUTLINE_HEADING + "".join(lines) + "".join(passages)


def parse_completion(text: str) -> tuple[str | None, Outline | None, list[Passage]]:
    """Undo `render_completion`: (premise, outline, passages).

    Raises:
        FabulaError: text stands where a heading should, or a beat is empty.
    """
    premise: str | None = None
    beats: list[Beat] = []
    passages: list[tuple[str, list[str]]] = []
    section: str | None = None
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], 1):
        if line == OUTLINE_HEADING.rstrip("\n"):
            section = "outline"
        elif line.startswith("# "):
            section = line[2:]
            passages.append((section, []))
        elif section is None and number == 1 and line.startswith(PREMISE_TAG + ": "):
            premise = unescape(line[len(PREMISE_TAG) + 2 :])
        elif section == "outline":
            name, _, summary = line.partition(": ")
            beats.append(Beat(beat=name, summary=unescape(summary)))
        elif section is not None:
            passages[-1][1].append(line)
        else:
            raise FabulaError(f"Line {number} of the document, '{line[:60]}', is outside any part.")
    return (
        premise,
        Outline(beats=beats) if beats else None,
        [Passage(beat=b, text=unescape_passage("\n".join(lines))) for b, lines in passages],
    )
