"""``fabula replay``: write a story file again and compare it byte for byte."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fabula.errors import FabulaError

if TYPE_CHECKING:
    from fabula.story import Story

MOST_SHOWN = 60
# Recorded beside the writer's settings, not among them.
OUTLINE_GIVEN = "outline_given"


def command(
    file: Annotated[Path, typer.Argument(metavar="STORY.json", help="What `write -o` saved.")],
    json_: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Write a story file again and compare it byte for byte."""
    from fabula.story import dump_story, load_story

    old = load_story(file)
    new = rewrite(old, str(file))
    same = dump_story(new).encode() == file.read_bytes()
    place = None if same else difference(old.model_dump(mode="json"), new.model_dump(mode="json"))
    if json_:
        from fabula.cli import emit

        emit({"story": str(file), "same": same, "first_difference": place})
    elif same:
        sys.stdout.write(f"{file}: the same, byte for byte.\n")
    elif place is None:
        sys.stdout.write(f"{file}: the same story, but the file is laid out differently.\n")
    else:
        sys.stdout.write(
            f"{file}: differs first at {place['at']}: the file has {place['file']}, "
            f"writing again gives {place['again']}.\n"
        )
    sys.exit(0 if same else 1)


def rewrite(story: Story, where: str) -> Story:
    """Write a story again, by what its file says of its making.

    Raises:
        FabulaError: the file does not say, or the model is not here or is another one.
    """
    from fabula.engines import open_engine
    from fabula.story import validate
    from fabula.writing import Writer, WriterSettings

    making = story.making
    if making is None:
        raise FabulaError(f"{where} does not say how it was made, so it cannot be replayed.")
    data = dict(making.settings)
    given = data.pop(OUTLINE_GIVEN, False)
    settings = validate(WriterSettings, data, f"{where}, making.settings")
    engine = open_engine(making.model)
    if engine.weights != making.weights:
        raise FabulaError(
            f"{where} was written with the weights {making.weights[:12]} of '{making.model}'; "
            f"here it has {engine.weights[:12]}: fetch that model to replay it."
        )
    if given and story.outline is None:
        raise FabulaError(f"{where} was written to a given outline, but has none.")
    return Writer(engine, settings).write(
        story.brief, making.seed, outline=story.outline if given else None
    )


def difference(old: Any, new: Any, at: str = "") -> dict[str, str] | None:
    """Where two JSON values differ first, and what stands there in each."""
    if old == new and type(old) is type(new):
        return None
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(k for k in new if k not in old)]:
            if key not in old or key not in new:
                return _place(f"{at}.{key}", old.get(key), new.get(key))
            if (found := difference(old[key], new[key], f"{at}.{key}")) is not None:
                return found
    if isinstance(old, list) and isinstance(new, list):
        for number, (a, b) in enumerate(zip(old, new, strict=False), 1):
            if (found := difference(a, b, f"{at}.{number}")) is not None:
                return found
        return _place(at, f"{len(old)} entries", f"{len(new)} entries")
    if isinstance(old, str) and isinstance(new, str):
        pairs = enumerate(zip(old, new, strict=False))
        first = next((i for i, (a, b) in pairs if a != b), min(len(old), len(new)))
        return _place(f"{at}, character {first}", old[first:], new[first:])
    return _place(at, old, new)


def _place(at: str, old: Any, new: Any) -> dict[str, str]:
    shown = [repr(v if not isinstance(v, str) else v[:MOST_SHOWN])[:80] for v in (old, new)]
    return {"at": at.lstrip("."), "file": shown[0], "again": shown[1]}
