"""The loss: isolation, exact accumulation, and the fused output layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fabula.errors import FabulaError
from fabula.training import attention, loss
from fabula.training.models import load_base
from fabula.training.packing import Document, collate
from fabula.training.recipe import Recipe

torch = pytest.importorskip("torch")
LENGTHS = (9, 150, 31, 2, 120)


def documents(vocabulary: int = 700) -> list[Document]:
    generator = torch.Generator().manual_seed(3)
    made = []
    for n, length in enumerate(LENGTHS):
        ids = torch.randint(3, vocabulary, (length,), generator=generator).tolist()
        made.append(Document(str(n), 0, ids, [-100] * (length // 3) + ids[length // 3 :]))
    return made


def base(folder: Path) -> Any:
    recipe = Recipe.model_validate(
        {"name": "x", "base_model": str(folder), "data": [{"corpus": "sample"}], "steps": 1}
    )
    return load_base(str(folder), recipe.model_copy(update={"dtype": "float32"})).eval()


def plain(model: Any, row: list[Document]) -> float:
    """The sum of transformers' own losses of each document alone."""
    model.set_attn_implementation("eager")
    total = 0.0
    for document in row:
        ids, labels = torch.tensor([document.ids]), torch.tensor([document.labels])
        count = int((labels[:, 1:] >= 0).sum())
        if count:
            with torch.no_grad():
                total += float(model(input_ids=ids, labels=labels).loss) * count
    return total


@pytest.mark.parametrize("isolated", ["documents", "mask"])
@pytest.mark.parametrize("kind", ["llama", "mistral", "gpt2"])
def test_packed_loss_is_the_sum_of_the_separate_losses(
    kind: str, isolated: str, models: dict[str, Path]
) -> None:
    """Mistral's window (96) is shorter than two of the documents."""
    model = base(models[kind])
    row = documents()
    expected = plain(model, row)
    of = loss.choose(model, 700)
    assert (of.fused, of.isolated) == (True, "documents")
    if isolated == "mask":
        of.isolated = "mask"
        model.set_attn_implementation("sdpa")
    batch = collate([row], pad=2, prompt_weight=0.0)
    assert float(of(batch)) == pytest.approx(expected, rel=1e-5)
    rows = collate([row[:2], row[2:]], pad=2, prompt_weight=0.0)
    assert float(of(rows)) == pytest.approx(expected, rel=1e-5)
    assert float(of.each(batch).sum()) == pytest.approx(expected, rel=1e-5)
    of.fused = False
    assert float(of(batch)) == pytest.approx(expected, rel=1e-5)


def test_the_check_would_see_documents_that_leak(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An all-ones mask beside position ids is the well-known silent leak."""
    model = base(models["llama"])

    def leaky(self: loss.LossOf, batch: dict[str, Any]) -> dict[str, Any]:
        return {
            "input_ids": batch["input_ids"],
            "position_ids": batch["position_ids"],
            "attention_mask": torch.ones_like(batch["input_ids"]),
            "use_cache": False,
        }

    monkeypatch.setattr(loss.LossOf, "_inputs", leaky)
    with pytest.raises(FabulaError, match="would see each other"):
        loss.choose(model, 700)


def test_the_check_is_strict_over_four_bits_that_train_in_bfloat16(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounding to bfloat16 looked like a leak in some models: the check itself is in float32."""
    recipe = Recipe.model_validate(
        {
            "name": "x", "base_model": str(models["llama"]), "method": "qlora", "steps": 1,
            "data": [{"corpus": "sample"}], "dtype": "bfloat16",
        }
    )  # fmt: skip
    model: Any = load_base(str(models["llama"]), recipe)
    seen: list[set[torch.dtype]] = []

    def dtypes() -> set[torch.dtype]:
        return {m.compute_dtype for m in model.modules() if hasattr(m, "compute_dtype")}

    agrees = loss._agrees

    def spy(*given: Any) -> bool:
        seen.append(dtypes())
        return agrees(*given)

    monkeypatch.setattr(loss, "_agrees", spy)
    assert dtypes() == {torch.bfloat16}
    assert loss.choose(model, 700).isolated == "documents"
    assert seen == [{torch.float32}]  # the fastest way agrees at once
    assert dtypes() == {torch.bfloat16}


def test_gradients_reach_no_other_document(models: dict[str, Path]) -> None:
    model = base(models["llama"])
    of = loss.choose(model, 700)
    row = [Document("a", 0, list(range(3, 20)), [-100] * 17), documents()[1]]
    of(collate([row], pad=2, prompt_weight=0.0)).backward()
    touched = model.get_input_embeddings().weight.grad[3:20]
    apart = base(models["llama"])
    alone = loss.choose(apart, 700)
    alone(collate([row[1:]], pad=2, prompt_weight=0.0)).backward()
    assert torch.allclose(touched, apart.get_input_embeddings().weight.grad[3:20], atol=1e-6)


@pytest.mark.parametrize("bias", [False, True])
def test_the_fused_loss_and_its_gradients_are_those_of_the_textbook(
    bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "SLICE", 7)  # several slices, the last one short
    torch.manual_seed(0)
    shapes: list[tuple[int, ...]] = [(33, 8), (50, 8), (50,)]
    leaves = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    target = torch.randint(0, 50, (33,))
    weight = torch.rand(33)
    hidden, matrix, offset = leaves
    scores = torch.nn.functional.linear(hidden, matrix, offset if bias else None)
    expected = (torch.nn.functional.cross_entropy(scores, target, reduction="none") * weight).sum()
    wanted = torch.autograd.grad(expected, leaves[: 2 + bias])
    single = [leaf.detach().float().requires_grad_() for leaf in leaves]
    total = loss.linear_cross_entropy(
        single[0], single[1], single[2] if bias else None, target, weight
    )
    (3 * total).backward()
    assert float(total) == pytest.approx(float(expected), rel=1e-5)
    for leaf, gradient in zip(single, wanted, strict=False):
        assert torch.allclose(leaf.grad / 3, gradient.float(), atol=1e-5)


def test_teachers_mix_their_mean_distribution_into_the_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loss, "SLICE", 7)
    torch.manual_seed(0)
    hidden, matrix = (torch.randn(n, 8, dtype=torch.float64, requires_grad=True) for n in (33, 50))
    teachers = [(torch.randn(33, 6), torch.randn(50, 6)) for _ in range(2)]
    target, weight = torch.randint(0, 50, (33,)), torch.rand(33)
    soft = torch.stack([(h @ m.T).softmax(dim=-1) for h, m in teachers]).mean(dim=0).double()
    mixed = 0.3 * torch.nn.functional.one_hot(target, 50) + 0.7 * soft
    each = torch.nn.functional.cross_entropy(hidden @ matrix.T, mixed, reduction="none")
    expected = (each * weight).sum()
    wanted = torch.autograd.grad(expected, [hidden, matrix])
    single = [leaf.detach().float().requires_grad_() for leaf in (hidden, matrix)]
    total = loss.linear_cross_entropy(*single, None, target, weight, teachers, 0.7)
    total.backward()
    assert float(total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    for leaf, gradient in zip(single, wanted, strict=True):
        assert torch.allclose(leaf.grad, gradient.float(), atol=1e-5)


def test_frozen_output_layers_get_no_gradient() -> None:
    hidden = torch.randn(5, 4, requires_grad=True)
    matrix = torch.randn(9, 4)
    target, weight = torch.arange(5), torch.ones(5)
    loss.linear_cross_entropy(hidden, matrix, None, target, weight).backward()
    assert hidden.grad is not None
    assert matrix.grad is None


def test_architectures_that_cap_their_scores_are_not_fused() -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=90,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        final_logit_softcapping=0.2,
        attn_logit_softcapping=None,
    )
    of = loss.choose(Gemma2ForCausalLM(config), 90)
    assert not of.fused


def test_architectures_with_a_memory_across_documents_are_refused() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=90, hidden_size=32, num_hidden_layers=1, state_size=4)
    with pytest.raises(FabulaError, match="MambaForCausalLM"):
        loss.choose(MambaForCausalLM(config), 90)


@pytest.fixture
def llama(models: dict[str, Path]) -> Any:
    return base(models["llama"])


def test_lengths_of_documents_are_read_off_their_positions() -> None:
    positions = torch.tensor([[0, 1, 2, 0, 1], [0, 0, 1, 2, 3]])
    assert attention.document_lengths(positions).flatten().tolist() == [3, 2, 1, 4]


def test_accumulated_gradients_equal_those_of_the_large_batch(llama: Any) -> None:
    """By tokens, not by micro-batches: the documents differ much in length."""
    of = loss.choose(llama, 700)
    row = documents()
    parts = [collate([[d]], pad=2, prompt_weight=0.0) for d in row]
    total = sum(p["weights"].sum() for p in parts)
    (of(collate([row], pad=2, prompt_weight=0.0)) / total).backward()
    whole = [p.grad.clone() for p in llama.parameters()]
    llama.zero_grad()
    for part in parts:
        (of(part) / total).backward()
    for parameter, expected in zip(llama.parameters(), whole, strict=True):
        assert torch.allclose(parameter.grad, expected, atol=1e-6)
