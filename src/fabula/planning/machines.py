"""Machines: this one, and GPUs by name, from their makers' data sheets."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from fabula.engines.hardware import memory_bytes
from fabula.errors import FabulaError
from fabula.training.throughput import product_rate

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Machine:
    """What a run has to fit into.

    Attributes:
        name: as it is asked for.
        title: as it is shown.
        memory: bytes that can be used.
        rate: FLOP/s of dense products in the dtype that a run uses there.
        bfloat16: whether it has it; products are in float32 otherwise.
        gpu: or a CPU.
    """

    name: str
    title: str
    memory: float
    rate: float
    bfloat16: bool
    gpu: bool


REACHED = 806 / 989
"""Share of the data sheet's rate that large products reached on one H200."""


def _gpu(name: str, title: str, gib: float, teraflops: float, bfloat16: bool = True) -> Machine:
    return Machine(name, title, gib * GIB, REACHED * teraflops * 1e12, bfloat16, True)


MACHINES = {
    machine.name: machine
    for machine in (
        # A T4 has no bfloat16, and float16 overflows in Llama-2: so it is counted in float32.
        _gpu("t4", "T4 16 GB (Colab)", 14.7, 8.1, bfloat16=False),
        _gpu("l4", "L4 24 GB", 22.0, 121),
        _gpu("rtx-3090", "RTX 3090 24 GB", 23.6, 71),
        _gpu("rtx-4090", "RTX 4090 24 GB", 23.5, 165),
        _gpu("a100-40", "A100 40 GB", 39.4, 312),
        _gpu("a100", "A100 80 GB", 79.1, 312),
        _gpu("h100", "H100 80 GB", 79.1, 989),
        _gpu("h200", "H200 141 GB", 139.8, 989),
    )
}
"""Usable memory, and what of the data sheets' dense bfloat16 rates is reached."""


def machine_named(name: str) -> Machine:
    """A GPU by its name.

    Raises:
        FabulaError: none is called so.
    """
    try:
        return MACHINES[name.lower()]
    except KeyError:
        raise FabulaError(
            f"--gpu {name}: not among those known: {', '.join(MACHINES)}. Leave it out to plan "
            "for this machine."
        ) from None


def this_machine() -> Machine:
    """The GPU that is here, or else the CPU and its memory; its rate is measured (a second)."""
    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        title = torch.cuda.get_device_name()
        bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        kind = torch.bfloat16 if bfloat16 else torch.float32
        return Machine("this", title, float(free), product_rate("cuda", kind), bfloat16, True)
    from fabula.training.models import bfloat16_pays

    bfloat16 = bfloat16_pays()
    kind = torch.bfloat16 if bfloat16 else torch.float32
    title = f"this CPU, {torch.get_num_threads()} threads"
    return Machine("this", title, available_memory(), product_rate("cpu", kind), bfloat16, False)


def available_memory() -> float:
    """Bytes of memory that a new process can have: physical, and within a container's limit."""
    limits = [memory_bytes()]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        if os.path.exists(path):
            with open(path, encoding="ascii") as file:
                said = file.read().strip()
            if said.isdigit():
                limits.append(float(said))
    return min(limits)
