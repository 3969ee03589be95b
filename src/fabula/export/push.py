"""A folder for the hub: what would be uploaded, its README with front matter, and the upload."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fabula.engines.choose import EMBEDDED
from fabula.engines.hub import causes
from fabula.errors import FabulaError, MissingExtra
from fabula.story.files import write_atomic

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
LICENCES = {
    EMBEDDED: "apache-2.0",
    r"(openai-community/)?gpt2(-medium|-large|-xl)?": "mit",
    r"meta-llama/llama-2-.+": "llama2",
    r"meta-llama/(meta-)?llama-3\.1-.+": "llama3.1",
    r"mistralai/mistral-7b-.+": "apache-2.0",
    r"qwen/qwen3-.+": "apache-2.0",
}
"""Ids of the recipes' bases (patterns, small letters), and the licence that their authors give."""


@dataclass(frozen=True)
class Plan:
    """What an upload is.

    Attributes:
        repository: OWNER/NAME.
        files: (path in the repository, bytes).
    """

    repository: str
    files: list[tuple[str, int]]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(size for _, size in self.files)


def check_name(repository: str) -> None:
    """Refuse what is no OWNER/NAME.

    Raises:
        FabulaError: it is none.
    """
    if not _REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
        raise FabulaError(
            f"'{repository}' is no repository of the hub: give OWNER/NAME, letters, digits, '-', "
            "'_' and '.' in each."
        )


def licence_of(base: str, folder: Path | None = None) -> str | None:
    """The licence of a base model as the hub names it, or None where it is not known.

    Args:
        base: "embedded", a hub id, or a folder.
        folder: of the base, whose README.md may say it.
    """
    for pattern, known in LICENCES.items():
        if re.fullmatch(pattern, base.lower()):
            return known
    readme = folder / "README.md" if folder is not None else None
    if readme is not None and readme.is_file():
        parts = readme.read_text("utf-8", errors="replace").split("---", 2)
        try:
            said = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
        except yaml.YAMLError:
            said = None
        licence = said.get("license") if isinstance(said, dict) else None
        return licence if isinstance(licence, str) else None
    return None


def front_matter(base: str | None, licence: str | None, gguf: bool, method: str) -> str:
    """The YAML at the head of a model card, as the hub reads it."""
    said: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    if base is not None and "/" in base and not Path(base).expanduser().exists():
        said["base_model"] = base
        said["base_model_relation"] = "finetune"
    if licence is not None:
        said["license"] = licence
    said["language"] = ["en"]
    tags = ["fabula", "story-generation", "creative-writing", method]
    said["tags"] = [tag for tag in [*tags, *(["gguf"] if gguf else [])] if tag]
    return f"---\n{yaml.safe_dump(said, sort_keys=False)}---\n"


def plan(folder: Path, repository: str) -> Plan:
    """List what an upload of a folder would send."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    files = [(p.relative_to(folder).as_posix(), p.stat().st_size) for p in paths]
    return Plan(repository, files)


def upload(folder: Path, repository: str, private: bool) -> str:
    """Send a folder to the hub; return its address there.

    Raises:
        MissingExtra: the hub's client is not installed.
        FabulaError: no login, no rights, or no network.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise MissingExtra("Uploading to the hub", "train") from None
    try:
        api = HfApi()
        api.whoami()
        api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            ignore_patterns=[".*"],
            commit_message="Upload by fabula export",
        )
    except Exception as error:  # the hub client raises by ten unrelated base classes
        raise _explain(error, folder, repository) from None
    return f"https://huggingface.co/{repository}"


def _explain(error: Exception, folder: Path, repository: str) -> FabulaError:
    from huggingface_hub import errors

    chain = causes(error)
    codes = {getattr(getattr(e, "response", None), "status_code", None) for e in chain}
    kept = f"the folder {folder} is ready and stays"
    if any(isinstance(e, errors.LocalTokenNotFoundError) for e in chain) or 401 in codes:
        return FabulaError(
            f"Nothing was uploaded to {repository}: you are not logged in to the hub (or the login "
            f"is out of date); log in with `hf auth login`, {kept}."
        )
    if codes & {403, 404}:
        return FabulaError(
            f"Nothing was uploaded to {repository}: your login has no right to write there; use a "
            f"token with write access and an OWNER that is you or your organisation, {kept}."
        )
    if any(isinstance(e, errors.OfflineModeIsEnabled) for e in chain):
        why = "the hub is switched off (HF_HUB_OFFLINE)"
    else:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        why = f"the hub cannot be reached, or broke off ({lines[0][:120].rstrip('.')})"
    return FabulaError(f"Nothing, or not all, was uploaded to {repository}: {why}; {kept}.")


def write_readme(folder: Path, card: str, matter: str) -> None:
    """README.md, the page that the hub shows: the card under its front matter."""
    write_atomic(folder / "README.md", matter + "\n" + card)
