"""``fabula write``: a brief into a story, shown as it is written, and its receipt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fabula.errors import FabulaError

if TYPE_CHECKING:
    from fabula.story import Brief, Outline, Story

WISHES = "Wishes"
MAKING = "Making"
FORMATS = (".json", ".md", ".txt")


def command(
    character: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME (ROLE): TRAIT, TRAIT'",
            help="Somebody in it; role and traits may be left out. May be repeated.",
            rich_help_panel=WISHES,
        ),
    ] = None,
    setting: Annotated[
        str | None, typer.Option(help="The place.", rich_help_panel=WISHES)
    ] = None,
    time: Annotated[str | None, typer.Option(help="The time.", rich_help_panel=WISHES)] = None,
    genre: Annotated[
        str | None, typer.Option(help="e.g. 'ghost story'.", rich_help_panel=WISHES)
    ] = None,
    tone: Annotated[str | None, typer.Option(help="e.g. 'eerie'.", rich_help_panel=WISHES)] = None,
    arc: Annotated[
        str | None, typer.Option(help="e.g. 'man in a hole'.", rich_help_panel=WISHES)
    ] = None,
    ending: Annotated[
        str | None,
        typer.Option(help="happy, sad, bittersweet, open, twist.", rich_help_panel=WISHES),
    ] = None,
    pov: Annotated[
        str | None, typer.Option(help="first, second, third.", rich_help_panel=WISHES)
    ] = None,
    must: Annotated[
        list[str] | None,
        typer.Option(help="A phrase that has to occur. May be repeated.", rich_help_panel=WISHES),
    ] = None,
    theme: Annotated[
        str | None, typer.Option(help="What it is about, underneath.", rich_help_panel=WISHES)
    ] = None,
    title: Annotated[str | None, typer.Option(help="Its title.", rich_help_panel=WISHES)] = None,
    premise: Annotated[
        str | None, typer.Option(help="The idea in a sentence or two.", rich_help_panel=WISHES)
    ] = None,
    length: Annotated[int | None, typer.Option(help="In words.", rich_help_panel=WISHES)] = None,
    brief: Annotated[
        Path | None,
        typer.Option(
            help="A brief as YAML or JSON; the wishes above override it, characters and "
            "--must are added.",
            rich_help_panel=WISHES,
        ),
    ] = None,
    outline: Annotated[
        Path | None,
        typer.Option(
            help="An outline to follow, as YAML or JSON: beats, each with beat and summary.",
            rich_help_panel=WISHES,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model folder, run folder or hub id; by default the embedded model.",
            rich_help_panel=MAKING,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Same seed, same story; by default a new one.", rich_help_panel=MAKING),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(help="Passages drawn for each beat.", rich_help_panel=MAKING)
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 is dull, 1 is wild.", rich_help_panel=MAKING)
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Nucleus sampling; 1 is off.", rich_help_panel=MAKING)
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Min-p sampling; 0 is off.", rich_help_panel=MAKING)
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(help="How hard the brief pulls; 1 is off.", rich_help_panel=MAKING),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Save as .json (can be replayed), .md or .txt.",
            rich_help_panel=MAKING,
        ),
    ] = None,
    json_: Annotated[
        bool,
        typer.Option("--json", help="Print the story file as JSON.", rich_help_panel=MAKING),
    ] = False,
) -> None:  # fmt: skip
    """Write a story for a brief."""
    wishes = collect(
        brief, character or [], must or [],
        {"genre": genre, "tone": tone, "arc": arc, "ending": ending, "point_of_view": pov,
         "theme": theme, "title": title, "premise": premise, "length": length},
        {"place": setting, "time": time},
    )  # fmt: skip
    check_output(output)
    from fabula.writing.settings import WriterSettings

    settings = settings_of(
        WriterSettings(), candidates=candidates, plans=candidates, temperature=temperature,
        plan_temperature=temperature,
        top_p=top_p, min_p=min_p, guidance=guidance,
    )  # fmt: skip
    plan = load_outline(outline) if outline is not None else None
    try:
        story = run(wishes, plan, model, settings, seed, json_)
    except KeyboardInterrupt:
        sys.stderr.write("\nfabula: interrupted; nothing was saved.\n")
        sys.exit(130)
    save(story, output)
    if json_:
        from fabula.story import dump_story

        sys.stdout.write(dump_story(story))
        sys.stdout.flush()
    else:
        how_to_repeat(story, output)


def run(
    wishes: Brief, plan: Outline | None, model: str | None, settings: Any, seed: int | None,
    as_json: bool,
) -> Story:  # fmt: skip
    """Open the model and write, showing the story as it comes."""
    from fabula.cli.story_view import open_view
    from fabula.engines import open_engine
    from fabula.writing import Writer

    view = open_view(wishes.title, as_json)
    writer = Writer(open_engine(model), settings)
    return writer.write(wishes, new_seed() if seed is None else seed, view, plan)


def new_seed() -> int:
    """A seed short enough to be typed again."""
    import secrets

    return secrets.randbelow(100_000)


def parse_character(text: str, first: bool) -> dict[str, Any]:
    """Read ``NAME (ROLE): TRAIT, TRAIT``; the first one is the protagonist, others are not.

    Raises:
        FabulaError: the brackets do not close.
    """
    head, _, traits = text.partition(":")
    name, bracket, role = head.partition("(")
    if bracket and not role.rstrip().endswith(")"):
        raise FabulaError(f"--character '{text[:60]}': the bracket of the role does not close.")
    role = role.rstrip().removesuffix(")").strip()
    return {
        "name": name.strip() or None,
        "role": role or ("protagonist" if first else "other"),
        "traits": [t.strip() for t in traits.split(",") if t.strip()],
    }


def collect(
    file: Path | None,
    characters: list[str],
    musts: list[str],
    fields: dict[str, Any],
    setting: dict[str, str | None],
) -> Brief:
    """The brief of file and command line together.

    Raises:
        FabulaError: a value is wrong, or nothing was wished.
    """
    from fabula.story import Brief, load_brief, validate

    data = load_brief(file).model_dump(exclude_none=True) if file is not None else {}
    data.update({key: value for key, value in fields.items() if value is not None})
    people = data.get("characters", [])
    for text in characters:
        people = [*people, parse_character(text, first=not people)]
    data["characters"] = people
    data["must_include"] = [*data.get("must_include", []), *musts]
    place = {**data.get("setting", {}), **{k: v for k, v in setting.items() if v is not None}}
    if place:
        data["setting"] = place
    where = "the command line" if file is None else f"{file} with the command line"
    brief = validate(Brief, data, where)
    if brief.is_empty:
        raise FabulaError(
            "the brief is empty; wish for at least one thing, e.g. "
            "fabula write --genre 'ghost story' --setting 'a lighthouse'."
        )
    return brief


def load_outline(path: Path) -> Outline:
    """Read an outline: its beats, or a list of them, or a story file's."""
    from fabula.story import Outline, parse_data, read_text, validate

    data = parse_data(read_text(path, 1_000_000), str(path))
    if isinstance(data, list):
        data = {"beats": data}
    if isinstance(data, dict) and isinstance(data.get("outline"), dict):
        data = data["outline"]
    return validate(Outline, data, str(path))


def settings_of(defaults: Any, **changes: Any) -> Any:
    """Settings with those that were given.

    Raises:
        FabulaError: a value is out of range.
    """
    from fabula.story import validate

    given = {key: value for key, value in changes.items() if value is not None}
    return validate(type(defaults), {**defaults.model_dump(), **given}, "the command line")


def check_output(path: Path | None) -> None:
    """Refuse before writing what could not be saved after it."""
    if path is None:
        return
    if path.suffix.lower() not in FORMATS:
        raise FabulaError(f"-o {path}: the name must end in one of: {', '.join(FORMATS)}.")
    if path.is_dir():
        raise FabulaError(f"-o {path} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise FabulaError(f"-o {path}: the folder {path.parent} does not exist; make it first.")


def save(story: Story, path: Path | None) -> None:
    """Save a story in the format its name asks for, or not at all."""
    if path is None:
        return
    from fabula.cli.story_view import as_markdown, as_text
    from fabula.story import dump_story, write_atomic

    render = {".json": dump_story, ".md": as_markdown, ".txt": as_text}[path.suffix.lower()]
    write_atomic(path, render(story))


def how_to_repeat(story: Story, path: Path | None) -> None:
    """Say the seed, and how to get the same story again."""
    making = story.making
    if making is None:
        return
    saved = path is not None and path.suffix.lower() == ".json"
    again = f"fabula replay {path}" if saved else f"the same wishes with --seed {making.seed}"
    sys.stdout.write(f"\nSeed {making.seed}, model {making.model} ({making.weights[:12]}).")
    sys.stdout.write(f" Saved as {path}." if path is not None else "")
    sys.stdout.write(f" Again: {again}\n")
