"""Handing a model on: one folder with merged weights, and what servers need beside them.

The order is that of its dangers: all that can be refused is refused before weights are read; the
folder is written aside, opened again, compared and tried in llama.cpp, and only then gets its name.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from fabula.errors import FabulaError
from fabula.export import gguf_file, push
from fabula.export.card import Facts
from fabula.export.headers import weights_of
from fabula.export.source import Source, open_source
from fabula.export.wishes import MARK, Announce, Wishes


@dataclass
class Export:
    """What was made.

    Attributes:
        folder: where.
        facts: as the card tells them.
        plan: what an upload would send.
    """

    folder: Path
    facts: Facts
    plan: push.Plan | None = None


def export(said: str, wishes: Wishes, announce: Announce | None = None) -> Export:
    """Hand a model on.

    Args:
        said: a run, a model or adapter folder, a hub id, or "embedded".

    Raises:
        FabulaError: anything that makes it impossible or wrong; nothing is left behind then.
    """
    announce = announce or Announce()
    target = wishes.to.expanduser().resolve()
    check_wishes(wishes)
    announce.stage("Finding the model")
    source = open_source(said, wishes.base)
    parameters, stored = weights_of(source.base_folder, source.config)
    dtype = wishes.dtype
    if dtype == "auto":
        dtype = stored if stored in ("float16", "bfloat16") else "float16"
    _check_source(source, wishes, target)
    draft = target.with_name(f".{target.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        from fabula.export.making import Maker

        facts = Maker(source, wishes, draft, announce, dtype, stored, parameters).make()
        if target.exists():
            shutil.rmtree(target)
        draft.rename(target)
    except OSError as error:
        raise FabulaError(
            f"The export cannot be written to {wishes.to} ({error.strerror or error}); free some "
            "disk, or name another folder with --to."
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    plan = push.plan(target, wishes.push) if wishes.push is not None else None
    return Export(wishes.to.expanduser(), facts, plan)


def check_wishes(wishes: Wishes) -> None:
    """Refuse what can be refused before anything large is loaded.

    Raises:
        FabulaError: a wish makes no sense, or the folder is taken.
        MissingExtra: gguf is not installed.
    """
    target = wishes.to.expanduser().resolve()
    if wishes.push is not None:
        push.check_name(wishes.push)
    for kind in wishes.gguf:
        if kind not in gguf_file.TYPES:
            raise FabulaError(
                f"--gguf {kind} is not written here; it is one of {', '.join(gguf_file.TYPES)} "
                "(llama.cpp's llama-quantize makes smaller types of an f16 file)."
            )
    if wishes.gguf:
        gguf_file.need_gguf()
    if wishes.ollama and not wishes.gguf:
        raise FabulaError("Ollama runs a GGUF: add --gguf q8_0 (or f16) to --ollama.")
    if target.is_file():
        raise FabulaError(f"{wishes.to} is a file; name a folder with --to.")
    if target.is_dir() and any(target.iterdir()):
        if not (target / MARK).is_file():
            raise FabulaError(f"{wishes.to} holds something that is no export; name another --to.")
        if not wishes.force:
            raise FabulaError(
                f"The export {wishes.to} exists; replace it with --force, or name another --to."
            )


def _check_source(source: Source, wishes: Wishes, target: Path) -> None:
    """Refuse what cannot be made, before weights are read."""
    from fabula.export import merge
    from fabula.training.models import read_config
    from fabula.training.tokenizer import open_tokenizer

    for folder in (source.folder, source.base_folder):
        if target.resolve() in (folder.resolve(), *folder.resolve().parents):
            raise FabulaError(f"{wishes.to} holds the model that is exported; name another --to.")
    read_config(str(source.base_folder))
    if source.adapter is not None:
        merge.check_fit(source)
        if (source.folder / "tokenizer.json").is_file():
            own, other = (open_tokenizer(str(f)) for f in (source.folder, source.base_folder))
            if own.fingerprint != other.fingerprint:
                raise FabulaError(
                    f"The adapter '{source.said}' was trained with another tokenizer than "
                    f"'{source.base}' has; name its own base by --base."
                )
    elif wishes.qlora:
        raise FabulaError(f"'{source.said}' is a whole model; --qlora is for adapters.")
    if wishes.gguf:
        gguf_file.check(source.base_folder)
    need = 2.2 * sum(p.stat().st_size for p in source.base_folder.glob("*.safetensors"))
    place = next(p for p in (target, *target.resolve().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if need * (1 + len(wishes.gguf)) * 0.5 > free:
        raise FabulaError(
            f"There are {free / 1e9:.1f} GB free for {wishes.to}, and the export takes about "
            f"{need * (1 + len(wishes.gguf)) * 0.5 / 1e9:.1f} GB; free some disk or name another "
            "--to."
        )
