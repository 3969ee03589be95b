"""Checks of the recipe alone: numbers that overflow, schedules that do not fit their run."""

from __future__ import annotations

from fabula.training.doctor.findings import Finding, ok, refused, skipped, warning
from fabula.training.recipe import Recipe

LONG_WARMUP = 0.5
MANY_EPOCHS = 20.0
FEW_STEPS = 10


def check_dtype(recipe: Recipe) -> Finding:
    """No product overflows: never float16, and bfloat16 only where the GPU has it.

    The recipe knows no float16 to learn in; it may ask for bfloat16, as dtype of the run or of
    what 4-bit weights are computed in.
    """
    import torch

    gpu = torch.cuda.is_available()
    has = not gpu or torch.cuda.is_bf16_supported(including_emulation=False)
    asked = {"dtype": recipe.dtype}
    if recipe.method == "qlora":
        asked["quantisation.compute_dtype"] = recipe.quantisation.compute_dtype
    unsafe = [key for key, kind in asked.items() if kind == "bfloat16" and not has]
    if unsafe:
        return refused(
            "dtype",
            f"{unsafe[0]} is bfloat16, which this GPU does not have",
            "set it to float32 (or auto)",
            asked=asked,
        )
    if "float16" in asked.values():
        return refused(
            "dtype",
            "float16 overflows in Llama-2, and the loss becomes no number",
            "use bfloat16 or float32",
            asked=asked,
        )
    return ok("dtype", f"computed in {recipe.dtype}, learnt in float32", asked=asked)


def check_weights(recipe: Recipe, model: object) -> Finding | None:
    """Whether the weights of a full run fit `save_dtype`; None where nothing is to be said."""
    import torch

    if recipe.method != "full" or recipe.save_dtype != "float16":
        return None
    assert isinstance(model, torch.nn.Module)
    largest = max(float(p.detach().abs().max()) for p in model.parameters() if p.numel())
    limit = torch.finfo(torch.float16).max
    if not largest < limit:
        return refused(
            "save dtype",
            f"The largest weight is {largest:g}, which float16 cannot hold ({limit:g})",
            "set save_dtype to bfloat16 or float32",
            largest=largest,
        )
    return ok("save dtype", f"the largest weight is {largest:.3g}: float16 holds it")


def check_schedule(recipe: Recipe, per_epoch: float | None) -> Finding:
    """Whether warm-up, decay and the run's limits go together.

    Args:
        per_epoch: optimiser steps of an epoch, about; None or 0 where it cannot be told.
    """
    schedule = recipe.schedule
    if not per_epoch:
        return skipped("schedule", "how long an epoch is could not be told")
    limits = [float(recipe.steps)] if recipe.steps is not None else []
    if recipe.epochs is not None:
        limits.append(recipe.epochs * per_epoch)
    steps = min(limits) if limits else None
    figures = {"steps_per_epoch": round(per_epoch, 2), "steps": steps}
    faults = []
    if schedule.warmup >= 1:
        faults.append("schedule.warmup is the whole run, so that the rate never comes down")
    elif schedule.warmup > LONG_WARMUP:
        faults.append(f"schedule.warmup takes {schedule.warmup:.0%} of the run")
    if schedule.name == "wsd" and schedule.warmup + schedule.decay > 1:
        faults.append(
            f"warmup ({schedule.warmup:.0%}) and decay ({schedule.decay:.0%}) overlap, so that the "
            "rate never reaches its peak"
        )
    if steps is not None and steps < FEW_STEPS:
        faults.append(f"the run has only {steps:.0f} optimiser steps")
    elif steps is not None and schedule.warmup and schedule.warmup * steps < 1:
        faults.append(f"schedule.warmup is less than one of {steps:.0f} steps")
    seen = steps / per_epoch if steps is not None else None
    if recipe.steps is not None and recipe.epochs is not None and recipe.steps < limits[1] * 0.99:
        faults.append(
            f"steps ({recipe.steps:,}) ends the run before epochs does ({limits[1]:,.0f} steps)"
        )
    if seen is not None and seen > MANY_EPOCHS:
        faults.append(f"the run sees each story {seen:.0f} times")
    if faults:
        told = "; ".join(faults)
        return warning("schedule", told[0].upper() + told[1:], "see that it is meant so", **figures)
    minutes = f"{recipe.max_minutes:g} minutes at most" if recipe.max_minutes is not None else ""
    length = f"about {steps:,.0f} steps ({seen:.2f} epochs)" if steps is not None else ""
    both = " or ".join(part for part in (length, minutes) if part)
    return ok(
        "schedule", f"{schedule.name} over {both}, {per_epoch:,.1f} steps an epoch", **figures
    )
