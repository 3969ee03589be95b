"""Briefs and stories on disk: YAML and JSON in, canonical JSON out, written atomically."""

from __future__ import annotations

import difflib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from fabula.errors import FabulaError
from fabula.story.brief import Brief
from fabula.story.story import Story

MAX_BRIEF_BYTES = 1_000_000
M = TypeVar("M", bound=BaseModel)


def explain(error: ValidationError, model: type[BaseModel], where: str) -> FabulaError:
    """Turn pydantic's report into one sentence: what, where, and what to do."""
    first = error.errors()[0]
    path = ".".join(str(p + 1) if isinstance(p, int) else p for p in first["loc"])
    kind, given = first["type"], first.get("input")
    shown = repr(given)[:60] if isinstance(given, (str, int, float, bool)) else "this value"
    if kind == "extra_forbidden":
        key = str(first["loc"][-1])
        known = _keys_at(model, first["loc"][:-1])
        near = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}."
        return FabulaError(f"{where}: unknown key '{path}'; {hint}")
    if kind == "literal_error":
        choices = first.get("ctx", {}).get("expected", "").replace("'", "").replace(" or ", ", ")
        options = [c.strip() for c in choices.split(",")]
        near = difflib.get_close_matches(str(given).lower(), options, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        return FabulaError(f"{where}: {path} is {shown}; {hint}It is one of: {', '.join(options)}.")
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    if kind == "value_error":
        return FabulaError(f"{where}: {path or f'the {model.__name__.lower()}'} {message}.")
    return FabulaError(
        f"{where}: {path or 'the file'}: {message[0].lower()}{message[1:]}, not {shown}."
    )


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Keys of the (nested) model that a location points into."""
    current = model
    for part in loc:
        if isinstance(part, int) or part not in current.model_fields:
            continue
        nested = _models_in(current.model_fields[part].annotation)
        if not nested:
            return []
        current = nested[0]
    return list(current.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for arg in getattr(annotation, "__args__", ()) for m in _models_in(arg)]


def validate(model: type[M], data: Any, where: str) -> M:
    """Validate data against a model.

    Raises:
        FabulaError: one sentence that names the key and the nearest right one.
    """
    if not isinstance(data, dict):
        raise FabulaError(f"{where}: expected keys and values, not {type(data).__name__}.")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise explain(error, model, where) from None


def read_text(path: Path, limit: int | None = None) -> str:
    """Read a UTF-8 text file.

    Raises:
        FabulaError: missing, too large, binary, or not UTF-8.
    """
    try:
        if path.is_dir():
            raise FabulaError(f"{path} is a folder; name a file.")
        size = path.stat().st_size
        if limit is not None and size > limit:
            raise FabulaError(
                f"{path} is {size / 1e6:.1f} MB; at most {limit / 1e6:.1f} MB are read. "
                "Is it the right file?"
            )
        raw = path.read_bytes()
    except OSError as error:
        raise FabulaError(f"{path}: {error.strerror or error}.") from None
    if b"\0" in raw:
        raise FabulaError(f"{path} is a binary file (NUL at byte {raw.index(0)}); give UTF-8 text.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise FabulaError(
            f"{path}, line {line}: not UTF-8 (byte {error.start}); save it as UTF-8."
        ) from None


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses doubled keys and does not expand aliases (billion laughs)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem="aliases are not allowed", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{key.value}' stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def parse_data(text: str, where: str) -> Any:
    """Parse YAML, of which JSON is a part.

    Raises:
        FabulaError: with the line of the mistake.
    """
    try:
        if text.lstrip().startswith("{"):
            try:
                return json.loads(text)
            except json.JSONDecodeError as error:
                if where.endswith(".json"):
                    raise FabulaError(f"{where}, line {error.lineno}: {error.msg}.") from None
        return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise FabulaError(f"{where}{line}: {error.problem or 'not YAML'}.") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise FabulaError(f"{where}: not YAML or JSON ({str(error).splitlines()[0]}).") from None


def load_brief(path: Path) -> Brief:
    """Read a brief from YAML or JSON. What `fabula read --json` prints is a brief too."""
    data = parse_data(read_text(path, MAX_BRIEF_BYTES), str(path))
    if data is None or data == {}:
        raise FabulaError(f"{path}: the brief is empty; wish for at least one thing.")
    if isinstance(data, dict):
        data.pop("evidence", None)
    brief = validate(Brief, data, str(path))
    if brief.is_empty:
        raise FabulaError(f"{path}: the brief is empty; wish for at least one thing.")
    return brief


def dump_brief(brief: Brief) -> str:
    """A brief as YAML, without the keys nobody filled."""
    data = brief.model_dump(exclude_none=True, exclude_defaults=True)
    return str(yaml.safe_dump(data, allow_unicode=True, sort_keys=False))


def dump_story(story: Story) -> str:
    """The story file: canonical JSON, so that equal stories are equal bytes."""
    return json.dumps(story.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"


def load_story(path: Path) -> Story:
    """Read a story file.

    Raises:
        FabulaError: not a story file, or its text disagrees with its passages.
    """
    data = parse_data(read_text(path, 64_000_000), str(path))
    if not isinstance(data, dict):
        raise FabulaError(f"{path}: not a story file.")
    text = data.pop("text", None)
    story = validate(Story, data, str(path))
    if text is not None and text != story.text:
        raise FabulaError(f"{path}: 'text' is not what the passages say; the file was changed.")
    return story


def write_atomic(path: Path, text: str | bytes) -> None:
    """Write a file so that readers see the old one or the new one, never a half.

    Raises:
        FabulaError: the folder is missing, read-only or full.
    """
    raw = text.encode() if isinstance(text, str) else text
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".tmp-", delete=False) as file:
            temporary = Path(file.name)
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise FabulaError(f"cannot write {path}: {error.strerror or error}.") from None
