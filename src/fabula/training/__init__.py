"""Training: a recipe and a prepared corpus become a run."""

from __future__ import annotations

from fabula.training.recipe import Recipe, dump_recipe, load_recipe

__all__ = ["Recipe", "dump_recipe", "load_recipe"]
