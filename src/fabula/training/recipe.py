"""The recipe: one YAML file that fixes a training run; unknown keys are refused.

`extends: other.yaml` takes another recipe, beside the file, for what a recipe does not say itself.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fabula.errors import FabulaError
from fabula.story.files import parse_data, read_text, validate

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
MAX_RECIPE_BYTES = 1_000_000


class Part(BaseModel):
    """Base of every part of a recipe: immutable, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Init(Part):
    """Shape of a Llama that starts from random weights.

    Attributes:
        tokenizer: "train" (byte-level BPE on the rendered documents), a folder, a hub id, or
            "embedded".
        tie_embeddings: one matrix for reading and for scoring tokens.
    """

    hidden_size: Positive = 256
    intermediate_size: Positive = 704
    num_hidden_layers: Positive = 8
    num_attention_heads: Positive = 4
    num_key_value_heads: Positive = 4
    vocab_size: Annotated[int, Field(ge=300)] = 6144
    context: Annotated[int, Field(ge=16)] = 1024
    rope_theta: Annotated[float, Field(gt=0)] = 10_000.0
    tie_embeddings: bool = True
    tokenizer: str = "train"

    @model_validator(mode="after")
    def _heads_fit(self) -> Init:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"has a hidden_size of {self.hidden_size}, which {self.num_attention_heads} heads "
                "do not divide"
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError("needs num_attention_heads to be a multiple of num_key_value_heads")
        return self


class Lora(Part):
    """The adapter (Hu et al. 2021), on all linear layers unless told otherwise.

    Attributes:
        r: rank.
        alpha: scale; the update is multiplied by alpha / r (rsLoRA: alpha / sqrt(r)).
        target: "all-linear", or names of modules.
        rslora: Kalajdzievski 2023. dora: Liu et al. 2024.
        plus_ratio: LoRA+ (Hayou et al. 2024, arXiv:2402.12354): B, which starts from nothing,
            learns at so many times the rate of A; 1 is plain LoRA, 16 the paper's proposal.
    """

    r: Positive = 16
    alpha: Annotated[float, Field(gt=0)] = 32.0
    dropout: Share = 0.0
    target: str | list[str] = "all-linear"
    rslora: bool = False
    dora: bool = False
    plus_ratio: Annotated[float, Field(gt=0, le=1000)] = 1.0


class Quantisation(Part):
    """How the frozen weights of a QLoRA run are stored (Dettmers et al. 2023)."""

    type: Literal["nf4", "fp4"] = "nf4"
    double_quant: bool = True
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"


class Source(Part):
    """Stories to learn from.

    Attributes:
        corpus: folder made by `fabula prepare`, or "sample" for the stories in the package.
        repeat: how often an epoch sees each story; 0.5 takes a fresh random half each epoch.
        split: the split that is learnt from.
        only: a regular expression that the beginning of a story's id has to match.
    """

    corpus: str
    repeat: Annotated[float, Field(gt=0, le=100)] = 1.0
    split: Literal["train", "valid"] = "train"
    only: str | None = None

    @field_validator("only")
    @classmethod
    def _pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"is no regular expression ({error})") from None
        return value


class Preferences(Part):
    """Which stories a reader prefers, learnt through trl: the better of two, or thumbs up and down.

    Attributes:
        pairs: a file of pairs (`fabula.training.preferences.pairs`).
        thumbs: kto only: a file of thumbs (`fabula.training.preferences.thumbs`). Without either
            the base model writes for the briefs of `data`, and the receipts rank its stories.
        held_out: share of the file that is not learnt but measured.
        stories: briefs of `data` that stories are written for.
        samples: stories written for each of them.
        temperature: of these stories.
        margin: a pair is made where the better one keeps this share of the wishes more.
        threshold: kto only: instead of a brief's best and worst, each of its stories gets a thumb:
            up where it keeps at least this share of the wishes.
        loss: dpo (Rafailov et al. 2023, arXiv:2305.18290), ipo (Azar et al. 2023,
            arXiv:2310.12036) or kto (Ethayarajh et al. 2024, arXiv:2402.01306).
        beta: how dear it is to leave the base model: the larger, the dearer.
        sft: weight of the chosen story's own cross-entropy, nats a token, beside that loss (Pang
            et al. 2024, arXiv:2404.19733); not with kto.
        desirable, undesirable: kto only: weights of a thumb up and of a thumb down; null balances
            them by their numbers.
    """

    pairs: str | None = None
    thumbs: str | None = None
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    stories: Positive = 200
    samples: Annotated[int, Field(ge=2, le=64)] = 8
    temperature: Annotated[float, Field(gt=0, le=5)] = 0.8
    margin: Annotated[float, Field(gt=0, le=1)] = 0.15
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    loss: Literal["dpo", "ipo", "kto"] = "dpo"
    beta: Annotated[float, Field(gt=0, le=100)] = 0.1
    sft: Annotated[float, Field(ge=0, le=100)] = 0.0
    desirable: Annotated[float, Field(gt=0, le=1000)] | None = None
    undesirable: Annotated[float, Field(gt=0, le=1000)] | None = None

    @property
    def file(self) -> str | None:
        """The file that is learnt from; None where the model writes its own stories."""
        return self.thumbs if self.pairs is None else self.pairs

    @model_validator(mode="after")
    def _fits_its_loss(self) -> Preferences:
        if self.loss == "kto":
            if self.sft:
                raise ValueError("has an sft, which goes with loss 'dpo' or 'ipo' only")
            if self.pairs is not None and self.thumbs is not None:
                raise ValueError("has both pairs and thumbs: put them into one file of thumbs")
            if self.threshold is not None and self.file is not None:
                raise ValueError("has a threshold, which is for stories that the model writes")
            return self
        for key in ("thumbs", "threshold", "desirable", "undesirable"):
            if getattr(self, key) is not None:
                raise ValueError(f"has '{key}', which goes with loss 'kto' only")
        return self


class Blend(Part):
    """Another model's weights in what a run writes at last.

    Weights of one line can be averaged (Wortsman et al. 2022, arXiv:2203.05482), and between a
    model and what it was tuned to, what the tuning cost comes back sooner than what it won is lost
    (Rame et al. 2024, *WARP*, arXiv:2406.16768).

    Attributes:
        model: folder, hub id or 'embedded', of the same shape; an earlier one of the same line.
        share: of its weights; the rest are those that were learnt.
    """

    model: str
    share: Annotated[float, Field(gt=0, lt=1)]


class Picks(Part):
    """Which of several sentences a reader would have next (`fabula.training.picks`).

    Attributes:
        files: stories with places at which readers have picked.
        held_out: share of their stories that is not learnt but measured.
        beta: how dear it is to leave the base model: the larger, the dearer.
        wrong, rest: most candidates of a place that are learnt from: of the wrong ones (the first,
            which are the worst), and of those that are neither the best nor wrong.
        better: weight of the best against these, 1 being that of the best against the wrong.
        worse: weight of these against the wrong.
        keep: weight of how far the best one has become unlikelier than it was.
        row: most tokens of a story with the candidates that hang on it; a story that has more is
            parted, and its text read again for each part.
        blend: what the weights that were learnt are averaged with in the end.
    """

    files: Annotated[list[str], Field(min_length=1)]
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    beta: Annotated[float, Field(gt=0, le=100)] = 0.3
    wrong: Positive = 3
    rest: Annotated[int, Field(ge=0)] = 2
    better: Annotated[float, Field(ge=0, le=100)] = 0.5
    worse: Annotated[float, Field(ge=0, le=100)] = 0.25
    keep: Annotated[float, Field(ge=0, le=100)] = 0.3
    row: Annotated[int, Field(ge=64, le=1_000_000)] = 6144
    blend: Blend | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_file(cls, data: Any) -> Any:
        """Recipes of earlier versions name one `file`, and their runs are to be resumed."""
        if isinstance(data, dict) and "file" in data and "files" not in data:
            data = {**data, "files": [data["file"]]}
            del data["file"]
        return data


class Augmentation(Part):
    """What is changed or left out of a document, drawn anew each time it is seen.

    Attributes:
        rename_characters: chance that the characters get new names, consistently.
        wish_for_things: chance that a brief without must-haves gets some that do occur.
        swap_place, swap_thing, swap_trait: chance that the place, a thing that must occur, or a
            trait becomes another.
        drop_tag: chance of each wish of the brief to be left out.
        sparse_brief: chance of a brief of few wishes: each is left out at a rate of `SPARSE`.
        drop_brief: chance of the whole brief to be left out.
        drop_premise: chance that the premise stands nowhere.
        write_premise: chance that the model writes a premise that is there, first of all.
        drop_outline: chance that passages follow the brief at once.
        add_length: fill in the length (rounded words) where the brief does not say it.
    """

    rename_characters: Share = 0.0
    wish_for_things: Share = 0.0
    swap_place: Share = 0.0
    swap_thing: Share = 0.0
    swap_trait: Share = 0.0
    drop_tag: Share = 0.0
    sparse_brief: Share = 0.0
    drop_brief: Share = 0.0
    drop_premise: Share = 0.0
    write_premise: Share = 0.0
    drop_outline: Share = 0.0
    add_length: bool = False


class Optimiser(Part):
    """AdamW, or Muon for hidden matrices with AdamW for the rest.

    Attributes:
        muon_learning_rate: of the hidden matrices; scaled to AdamW's update size, so that
            learning_rate (the default) is a fair first guess.
        weight_decay: on hidden matrices only.
        clip: largest norm of the gradient; 0 never clips.
    """

    name: Literal["adamw", "muon", "adamw_8bit", "paged_adamw_8bit"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-4
    betas: tuple[Share, Share] = (0.9, 0.95)
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    muon_learning_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    muon_momentum: Share = 0.95
    clip: Annotated[float, Field(ge=0)] = 1.0


class Teacher(Part):
    """Larger models of the same tokenizer, whose distributions are learnt (Hinton et al. 2015).

    Attributes:
        models: folders, as `fabula train` leaves them; several are averaged.
        share: of their distribution in what is learnt; the rest is the text itself.
    """

    models: Annotated[list[str], Field(min_length=1)]
    share: Share = 0.5


class Schedule(Part):
    """Learning-rate annealing, as a function of the share of the run that is done.

    Attributes:
        warmup: share of the run over which the rate rises from (almost) nothing.
        min_lr_ratio: the rate at the end, relative to the peak.
        decay: wsd only: share of the run, at its end, over which the rate falls.
        cycles: cosine_with_restarts only: number of cosines.
    """

    name: Literal["cosine", "linear", "wsd", "constant", "cosine_with_restarts"] = "cosine"
    warmup: Share = 0.03
    min_lr_ratio: Share = 0.0
    decay: Share = 0.2
    cycles: Positive = 4


class Evaluation(Part):
    """Held-out loss while training.

    Attributes:
        every: steps between evaluations (the first is before step 1, the last at the end);
            null evaluates at start and end only.
        split: held-out split of the same corpora.
        max_documents: how many documents, spread evenly; 0 evaluates nothing.
    """

    every: Positive | None = None
    split: Literal["valid", "test"] = "valid"
    max_documents: Annotated[int, Field(ge=0)] = 200


class Checkpoints(Part):
    """Checkpoints, from which `--resume` goes on exactly."""

    every: Positive | None = None
    every_minutes: Annotated[float, Field(gt=0)] | None = 15.0
    keep: Positive = 2


class Recipe(Part):
    """Everything that decides a training run.

    Attributes:
        name: folder name of the run, under `runs/`.
        base_model: folder, hub id, or "embedded"; null starts from random weights (`init`).
        method: full, lora or qlora.
        sequence_length: tokens of a row; longer documents are dropped and counted, never cut.
        packing: documents fill the rows of a micro-batch without gaps, isolated from each other.
        epochs, steps, max_minutes: the run ends at whichever comes first.
        micro_batch_size: rows computed at once (packed: as many tokens as so many rows hold).
        batch_size: rows of one optimiser step; a multiple of micro_batch_size.
        teacher: larger models to learn from besides the text; the method has to be full.
        preferences: learn which stories are preferred, instead of the stories of `data`; a
            micro-batch has so many pairs, or so many thumbs.
        workers: processes that vary and encode documents ahead of the training (0: none); the
            documents are the same with any number.
        neftune_alpha: noise on the embeddings while training (Jain et al. 2023, arXiv:2310.05914);
            null: none, the paper's values are 5 to 15.
        loss_on_prompt: weight of the prompt's tokens in the loss; 0 learns the completion only.
        compile: fuse the small operations of each layer (torch.compile; needs a C++ compiler).
        save_dtype: of the final weights of a full run.
        report_to: trackers of the Trainer: tensorboard, wandb, mlflow, trackio.
        log_every: steps between lines of metrics.jsonl.
        sample_brief: a brief whose story is written before and after, by `fabula train`.
    """

    name: str
    base_model: str | None = None
    init: Init | None = None
    method: Literal["full", "lora", "qlora"] = "full"
    lora: Lora = Lora()
    quantisation: Quantisation = Quantisation()
    data: list[Source] = []
    augmentation: Augmentation = Augmentation()
    sequence_length: Annotated[int, Field(ge=16)] = 1024
    packing: bool = True
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    epochs: Annotated[float, Field(gt=0)] | None = None
    steps: Positive | None = None
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    micro_batch_size: Positive = 4
    batch_size: Positive = 8
    teacher: Teacher | None = None
    preferences: Preferences | None = None
    picks: Picks | None = None
    workers: Annotated[int, Field(ge=0, le=256)] = 0
    neftune_alpha: Annotated[float, Field(gt=0, le=1000)] | None = None
    loss_on_prompt: Share = 0.0
    evaluation: Evaluation = Evaluation()
    checkpoint: Checkpoints = Checkpoints()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    save_dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    gradient_checkpointing: bool = False
    compile: bool = False
    report_to: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = []
    log_every: Positive = 1
    sample_brief: dict[str, Any] | None = None

    @field_validator("name")
    @classmethod
    def _folder_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", value):
            raise ValueError("is a folder's name: letters, digits, '.', '_' and '-', at most 80")
        return value

    @field_validator("loss_on_prompt", mode="before")
    @classmethod
    def _weight(cls, value: Any) -> Any:
        return float(value) if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _makes_sense(self) -> Recipe:
        if (self.base_model is None) == (self.init is None):
            raise ValueError("needs either base_model or init (a model from random weights)")
        if self.init is not None and self.method != "full":
            raise ValueError(
                f"starts from random weights, which '{self.method}' cannot: say 'full'"
            )
        if self.init is not None and self.sequence_length > self.init.context:
            raise ValueError(
                f"has a sequence_length of {self.sequence_length}, longer than the model's "
                f"context of {self.init.context}"
            )
        without = self.picks or (self.preferences and self.preferences.file)
        if not self.data and not without:
            raise ValueError("has no data: give at least one corpus")
        if self.preferences is not None:
            self._makes_pairs(self.preferences)
        if self.picks is not None:
            self._learns_picks()
        if self.epochs is None and self.steps is None and self.max_minutes is None:
            raise ValueError("never ends: give epochs, steps or max_minutes")
        if self.neftune_alpha is not None and (self.preferences or self.picks):
            raise ValueError("has a neftune_alpha, which goes with the stories of `data` only")
        if self.lora.plus_ratio != 1 and self.optimiser.name == "muon":
            raise ValueError("has a lora.plus_ratio, which goes with AdamW, not with muon")
        if self.teacher is not None and self.method != "full":
            raise ValueError(f"has a teacher, which '{self.method}' cannot: say 'full'")
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"has a batch_size of {self.batch_size}, which is no multiple of the "
                f"micro_batch_size of {self.micro_batch_size}"
            )
        return self

    def _makes_pairs(self, preferences: Preferences) -> None:
        if self.init is not None:
            raise ValueError("has preferences, which need a model that can write: give base_model")
        if self.teacher is not None or self.compile:
            raise ValueError("has preferences, which go with no teacher and no compile")
        if preferences.file is not None and self.data:
            raise ValueError("has preferences with their own pairs: leave data out")
        if preferences.loss == "kto" and self.batch_size < 2:
            raise ValueError("has loss 'kto', which needs a batch_size of at least 2 thumbs")

    def _learns_picks(self) -> None:
        assert self.picks is not None
        if self.init is not None:
            raise ValueError("has picks, which need a model that can write: give base_model")
        if self.preferences is not None:
            raise ValueError("has both picks and preferences: give one of them")
        if self.data:
            raise ValueError("has picks, which bring their own stories: leave data out")
        if self.teacher is not None:
            raise ValueError("has picks, which go with no teacher")
        if self.augmentation != Augmentation():
            raise ValueError("has picks, whose stories are learnt as they are: no augmentation")
        if self.picks.blend is not None and self.method != "full":
            raise ValueError(f"has a picks.blend, which '{self.method}' cannot: say 'full'")
        if self.lora.dropout:
            raise ValueError("has picks, which go with no lora.dropout: the reference has none")
        if self.micro_batch_size != 1:
            raise ValueError("has picks, which are learnt story by story: micro_batch_size is 1")

    @property
    def accumulation(self) -> int:
        """Micro-batches of one optimiser step."""
        return self.batch_size // self.micro_batch_size

    @property
    def resume_key(self) -> dict[str, Any]:
        """What a resumed run must have in common with its start."""
        free = {"epochs", "steps", "max_minutes", "evaluation", "checkpoint", "report_to"}
        free |= {"log_every", "sample_brief", "workers"}
        return self.model_dump(mode="json", exclude=free)


def load_recipe(path: Path, **changes: Any) -> Recipe:
    """Read a recipe from YAML or JSON; `changes` (None: no change) override its keys.

    Raises:
        FabulaError: unreadable, an unknown key (with the nearest right one), or a wrong value; or
            what it extends is missing or extends it.
    """
    data = _extended(path, ())
    changes = {key: value for key, value in changes.items() if value is not None}
    if "base_model" in changes:
        data.pop("init", None)
    return validate(Recipe, {**data, **changes}, str(path))


def _extended(path: Path, children: tuple[Path, ...]) -> dict[str, Any]:
    """What a recipe says, on top of what the recipe says that it extends.

    Args:
        children: the recipes that have led here, the first one first.
    """
    if path.resolve() in [child.resolve() for child in children]:
        circle = " -> ".join(str(p) for p in (*children, path))
        raise FabulaError(
            f"{children[0]}: 'extends' goes in a circle ({circle}); end it somewhere."
        )
    if children and not path.is_file():
        raise FabulaError(
            f"{children[-1]}: extends {path}, which does not exist; name a recipe beside it."
        )
    data = parse_data(read_text(path, MAX_RECIPE_BYTES), str(path))
    if not isinstance(data, dict):
        raise FabulaError(f"{path}: not a recipe; it needs keys and values.")
    parent = data.pop("extends", None)
    if parent is None:
        return data
    if not isinstance(parent, str) or not parent:
        raise FabulaError(f"{path}: extends is {parent!r}; name a recipe beside it.")
    below = _extended(path.parent / Path(parent).expanduser(), (*children, path))
    # A base and random weights exclude each other: the later word counts.
    for one, other in (("base_model", "init"), ("init", "base_model")):
        if data.get(one) is not None and other not in data:
            below.pop(other, None)
    return _merged(below, data)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Keys of both, `above` where both have them; parts are merged, lists replaced."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return merged


def dump_recipe(recipe: Recipe) -> str:
    """The recipe with every default filled in, as YAML."""
    return str(yaml.safe_dump(recipe.model_dump(mode="json"), allow_unicode=True, sort_keys=False))
