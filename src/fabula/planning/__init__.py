"""Planning: what a training run will take, told from a model's config alone, before it is begun."""

from fabula.planning.machines import MACHINES, Machine, this_machine
from fabula.planning.plan import Plan, plan_run

__all__ = ["MACHINES", "Machine", "Plan", "plan_run", "this_machine"]
