"""Planning: what a training run will take, told from a model's config alone, before it is begun."""

from fabula.planning.configs import KNOWN, config_of, is_conv1d
from fabula.planning.machines import MACHINES, Machine, machine_named, this_machine
from fabula.planning.plan import WRITING_PROMPTS, Memory, Plan, plan_run, recommend

__all__ = [
    "KNOWN", "MACHINES", "WRITING_PROMPTS", "Machine", "Memory", "Plan", "config_of",
    "is_conv1d", "machine_named", "plan_run", "recommend", "this_machine",
]  # fmt: skip
