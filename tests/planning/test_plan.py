"""What a run takes, beside what runs took."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from fabula.planning import MACHINES, Machine, plan_run, recommend, this_machine  # noqa: E402
from fabula.planning.configs import KNOWN, config_of, is_conv1d  # noqa: E402
from fabula.planning.machines import GIB  # noqa: E402
from fabula.planning.measured import Measured  # noqa: E402
from fabula.planning.plan import flop_per_token, memory_of  # noqa: E402
from fabula.planning.tracing import Traced, trace  # noqa: E402
from fabula.training.recipe import Recipe  # noqa: E402

H200 = MACHINES["h200"]


def recipe(**more: Any) -> Recipe:
    data: dict[str, Any] = {
        "name": "x", "base_model": "x", "method": "qlora", "lora": {"dropout": 0.05}, "steps": 1,
        "data": [{"corpus": "sample"}], "sequence_length": 2048, "dtype": "bfloat16",
        "micro_batch_size": 1, "batch_size": 16,
    }  # fmt: skip
    return Recipe.model_validate(data | more)


def on_gpu(model: str, **more: Any) -> Traced:
    return trace(config_of(model), recipe(**more), torch.bfloat16, True, True)


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
        ("meta-llama/Llama-2-7b-hf", 6_738_415_616),
        ("meta-llama/Llama-2-13b-hf", 13_015_864_320),
        ("mistralai/Mistral-7B-v0.1", 7_241_732_096),
        ("meta-llama/Llama-3.1-8B", 8_030_261_248),
        ("Qwen/Qwen3-8B", 8_190_735_360),
    ],
)
def test_known_models_have_the_parameters_that_are_published(model: str, parameters: int) -> None:
    assert model in KNOWN
    assert on_gpu(model).parameters == parameters


@pytest.mark.parametrize(
    ("model", "rows", "again", "gib"),
    [
        ("llama-2-7b", 2, False, 33.9),
        ("llama-2-7b", 8, True, 12.7),
        ("mistral-7b", 2, False, 37.8),
        ("mistral-7b", 8, True, 13.5),
    ],
)
def test_memory_on_a_gpu_is_within_a_tenth_of_what_was_measured(
    model: str, rows: int, again: bool, gib: float
) -> None:
    """QLoRA of rank 16 on one H200 with 32-bit AdamW, as PyTorch counts it (LOG.md, section 3)."""
    memory = memory_of(recipe(), on_gpu(model), H200, rows, again)
    assert (memory.total - memory.libraries) / GIB == pytest.approx(gib, rel=0.1)


def test_flop_of_a_token_are_those_counted_by_hand() -> None:
    """Llama-2-7B: 4 x 6.607e9 in products, 3 x 2 x 32 x 4096 x 2048 / ... in attention."""
    traced = on_gpu("llama-2-7b")
    assert traced.multiplied == 6_607_077_376
    assert flop_per_token(traced, 2048, False, False) == pytest.approx(28.3e9, rel=0.005)
    full = flop_per_token(on_gpu("llama-2-7b", method="full"), 2048, True, False)
    assert full == pytest.approx(6 * 6.607e9 + 1.61e9, rel=0.005)
    assert flop_per_token(traced, 2048, False, True) > 1.4 * flop_per_token(
        traced, 2048, False, False
    )


def test_what_a_layer_keeps_is_what_autograd_saves_in_a_real_one() -> None:
    from transformers import AutoModelForCausalLM

    config = config_of("gpt2")
    for key, value in {"n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 500}.items():
        setattr(config, key, value)
    config.attn_pdrop = config.resid_pdrop = config.embd_pdrop = 0.0
    traced = trace(config, recipe(method="full"), torch.float32, False, False)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").train()
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = model.base_model(torch.zeros((1, 128), dtype=torch.long), use_cache=False)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    real = sum(s.nbytes() for place, s in kept.items() if place not in own) / 128
    assert traced.layers == 3
    assert 3 * traced.saved + traced.rest == pytest.approx(real, rel=0.1)
    assert out is not None


def test_a_larger_batch_never_takes_less_and_plans_fit_their_machine() -> None:
    traced = on_gpu("mistral-7b")
    totals = [memory_of(recipe(), traced, H200, rows, False).total for rows in (1, 2, 4, 8)]
    assert totals == sorted(totals)
    for name in ("t4", "a100", "h200"):
        plan = plan_run("mistral-7b", recipe(), MACHINES[name])
        assert plan.fits
        assert plan.batch_size % plan.micro_batch_size == 0
        assert plan.memory.total <= MACHINES[name].memory
    assert plan_run("mistral-7b", recipe(), MACHINES["t4"]).gradient_checkpointing
    assert not plan_run("mistral-7b", recipe(), H200).gradient_checkpointing


def test_what_fits_nowhere_says_so_and_the_largest_in_time_is_recommended() -> None:
    small = Machine("small", "a small card", 2 * GIB, 1e13, True, True)
    plan = plan_run("llama-2-7b", recipe(), small)
    assert not plan.fits
    assert plan.memory.total > small.memory
    plans = [plan_run(m, recipe(sequence_length=1024), H200) for m in ("gpt2", "mistral-7b")]
    best = recommend(plans, 24)
    assert best is not None
    assert best.model == "mistral-7b"
    assert recommend(plans, plans[1].hours / 2) == plans[0]
    assert recommend([plan], 1e9) is None


def test_full_training_needs_more_than_adapters_and_eight_bits_less() -> None:
    full, lora = (on_gpu("gpt2", method=m, sequence_length=512) for m in ("full", "lora"))
    settings = recipe(method="full", sequence_length=512)
    whole = memory_of(settings, full, H200, 1, False)
    assert whole.optimiser == 8 * 124_439_808
    eight = recipe(method="full", sequence_length=512, optimiser={"name": "adamw_8bit"})
    assert memory_of(eight, full, H200, 1, False).optimiser < whole.optimiser / 3
    part = memory_of(recipe(method="lora", sequence_length=512), lora, H200, 1, False)
    assert part.optimiser == 8 * lora.adapters < whole.optimiser / 40
    assert is_conv1d("gpt2-xl")
    assert not is_conv1d("mistral-7b")


def test_measured_memory_grows_with_layers_and_rows() -> None:
    def truth(layers: int, rows: int) -> float:
        return 700 + 20 * layers + 5 * rows + 3 * layers * rows

    found = {(n, r): (truth(n, r), truth(n, r)) for n in (1, 2) for r in (1, 4)}
    measured = Measured(found)
    assert measured.peak(12, 16) == pytest.approx(truth(12, 16))
    assert measured.seconds(12, 16) == pytest.approx(truth(12, 16))
    whole = Measured({(12, r): (truth(12, r), 1.0) for r in (1, 4)})
    assert whole.peak(12, 16) == pytest.approx(truth(12, 16))
    whole.found[12, 16] = (5.0, 1.0)
    assert whole.peak(12, 16) == 5.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gpt2", "--gpu", "abacus"], "not among those known: t4"),
        (["gpt2", "--gpu", "t4", "--sequence-length", "4096"], "sees 1,024 tokens at most"),
        (["./no/such/folder", "--gpu", "t4"], "there is no such model folder"),
        (["gpt2", "--gpu", "t4", "--method", "osmosis"], "say one of full, lora, qlora"),
        (["gpt2", "--gpu", "t4", "--recipe", "no.yaml"], "no.yaml"),
        (["gpt2", "--gpu", "t4", "--as-is"], "give the --recipe"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(arguments: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fabula", "plan", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_command_compares_models_and_recommends() -> None:
    command = [sys.executable, "-m", "fabula", "plan", "gpt2", "llama-2-7b", "--gpu", "h200"]
    data = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout)
    assert [p["method"] for p in data["plans"]] == ["lora", "qlora"]
    assert data["recommended"] == "llama-2-7b"
    assert data["plans"][1]["memory"]["total"] == pytest.approx(
        sum(v for k, v in data["plans"][1]["memory"].items() if k != "total")
    )
    shown = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert "Recommended: llama-2-7b" in shown


def test_a_recipe_is_planned_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(
        "name: r\nbase_model: gpt2\nmethod: full\ndata: [{corpus: sample}]\nsteps: 5\n"
        "sequence_length: 512\nmicro_batch_size: 2\nbatch_size: 6\n"
    )
    command = [sys.executable, "-m", "fabula", "plan", "gpt2", "--recipe", str(file)]
    done = subprocess.run([*command, "--gpu", "l4", "--json"], capture_output=True, check=True)
    (plan,) = json.loads(done.stdout)["plans"]
    assert (plan["method"], plan["batch_size"], plan["sequence_length"]) == ("full", 6, 512)
    assert plan["learns"] == 124_439_808
    assert plan["micro_batch_size"] == 6
    done = subprocess.run(
        [*command, "--gpu", "l4", "--json", "--as-is"], capture_output=True, check=True
    )
    (own,) = json.loads(done.stdout)["plans"]
    assert own["micro_batch_size"] == 2
    assert own["memory"]["activations"] < plan["memory"]["activations"]


def test_memory_on_a_cpu_is_near_what_a_run_takes(tmp_path: Path) -> None:
    """`benchmarks/planning.py` prints how near, for more architectures."""
    import yaml

    from fabula.engines.choose import embedded_folder
    from fabula.planning.random_base import random_base

    if torch.cuda.is_available():
        pytest.skip("for machines without a GPU")
    from transformers import LlamaConfig

    config = LlamaConfig(
        hidden_size=256, intermediate_size=704, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=5120, tie_word_embeddings=False,
    )  # fmt: skip
    base: Any = random_base(config, torch.float32, "cpu")
    base.save_pretrained(tmp_path / "model")
    for file in embedded_folder().glob("tokenizer*"):
        (tmp_path / "model" / file.name).write_bytes(file.read_bytes())
    machine = this_machine()
    settings = recipe(
        base_model=str(tmp_path / "model"), sequence_length=512, micro_batch_size=8, batch_size=8,
        steps=4, evaluation={"max_documents": 0}, checkpoint={"every_minutes": None}, name="r",
        dtype="bfloat16" if machine.bfloat16 else "float32",
    )  # fmt: skip
    plan = plan_run(str(tmp_path / "model"), settings, machine, rows=8)
    file = tmp_path / "r.yaml"
    file.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    command = [sys.executable, "-m", "fabula", "train", str(file), "--runs", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    lines = (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()
    peak = max(json.loads(line).get("memory_mb", 0) for line in lines) * 1e6
    assert plan.memory.total == pytest.approx(peak, rel=0.2)
    assert plan.fits
