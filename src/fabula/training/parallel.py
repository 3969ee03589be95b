"""Several processes: who this one is, what all agree on, and how a model is parted among them.

A launcher (torchrun, `accelerate launch`, SLURM through either) starts the same command several
times and tells each process its rank. Data-parallel processes each keep the whole model and add
their gradients once a step, after all micro-batches: so a process that runs out of memory can say
so before anyone waits for it. With FSDP2 (`torch.distributed.fsdp.fully_shard`; Zhao et al. 2023,
arXiv:2304.11277) each keeps a part of every weight, gradient and optimiser state.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fabula.errors import FabulaError
from fabula.training.models import decoder_layers

T = TypeVar("T")
BUCKET = 2**26
"""Gradients added in one go, elements."""


@dataclass(frozen=True)
class World:
    """The processes of a run.

    Attributes:
        rank: of this one, from 0.
        size: how many there are.
        local: rank on this machine.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this one writes and speaks for all."""
        return self.rank == 0


def world() -> World:
    """The processes of this run, as the launcher has told them."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    return World(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))


def check_launcher() -> None:
    """Refuse what a launcher was asked for and silently does not do, or what is not built here.

    Raises:
        FabulaError: it started one process of several, or asks for FSDP1, DeepSpeed or Megatron.
    """
    several = "WORLD_SIZE" in os.environ
    if not several and "ACCELERATE_USE_CPU" in os.environ and "MASTER_PORT" in os.environ:
        raise FabulaError(
            "accelerate launch with --cpu starts one process, whatever --num_processes says; start "
            "several on a CPU by 'torchrun --nproc-per-node N -m fabula train ...'."
        )
    for name, what in (("DEEPSPEED", "DeepSpeed"), ("MEGATRON_LM", "Megatron-LM")):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true":
            raise FabulaError(
                f"accelerate was asked for {what}, which runs do not use; launch without it, and "
                "with 'parallel: fsdp' in the recipe where a model has to be parted."
            )
    if _launched_sharded() and os.environ.get("FSDP_VERSION", "1") != "2":
        raise FabulaError(
            "accelerate was asked for FSDP 1, which runs do not use; launch with --fsdp_version 2."
        )
    if several and ("RANK" not in os.environ or "MASTER_ADDR" not in os.environ):
        raise FabulaError(
            "WORLD_SIZE is set, but RANK or MASTER_ADDR is not; start several processes through "
            "torchrun or accelerate launch."
        )


def _launched_sharded() -> bool:
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def launched_sharded() -> bool:
    """Whether `accelerate launch` was asked for FSDP; from then on the run parts its model itself.

    accelerate would part it a second time, and on a CPU make plain data parallelism of it.
    """
    asked = _launched_sharded()
    os.environ.pop("ACCELERATE_USE_FSDP", None)
    return asked


def join() -> None:
    """Meet the other processes, and take this one's GPU.

    Raises:
        FabulaError: this machine has fewer GPUs than processes, or the others cannot be reached.
    """
    here = world()
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus:
        if here.local >= gpus:
            raise FabulaError(
                f"Process {here.rank} has no GPU of its own (this machine has {gpus}); start as "
                "many processes on a machine as it has GPUs."
            )
        torch.cuda.set_device(here.local)
    if here.size == 1 or dist.is_initialized():
        return
    try:
        dist.init_process_group("nccl" if gpus else "gloo")
    except (ValueError, RuntimeError, dist.DistError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise FabulaError(
            f"Process {here.rank} of {here.size} cannot meet the others ({reason}); see that "
            "MASTER_ADDR and MASTER_PORT are those of the first machine and that all are started."
        ) from None


def _place() -> torch.device:
    """Where collectives of small values happen."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def totals(values: Iterable[float]) -> list[float]:
    """The sums of values over all processes, in float64."""
    mine = list(values)
    if world().size == 1:
        return mine
    tensor = torch.tensor(mine, dtype=torch.float64, device=_place())
    dist.all_reduce(tensor)
    return [float(value) for value in tensor.tolist()]


def highest(value: float) -> float:
    """The highest of all processes' values."""
    if world().size == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=_place())
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return float(tensor)


def gathered(values: list[T]) -> list[T]:
    """The lists of all processes, one after the other."""
    if world().size == 1:
        return values
    found: list[Any] = [None] * world().size
    dist.all_gather_object(found, values)
    return [value for part in found for value in part]


def of_first(value: T) -> T:
    """What the first process has."""
    if world().size == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0, device=_place())
    return box[0]  # type: ignore[no-any-return]


def wait() -> None:
    """Until all processes are here."""
    if world().size > 1:
        dist.barrier()


def add_gradients(model: nn.Module) -> None:
    """Sum the gradients of all processes, in every process (data parallelism)."""
    if world().size == 1:
        return
    learns = [p for p in model.parameters() if p.requires_grad]
    for p in learns:
        if p.grad is None:  # all have to take part
            p.grad = torch.zeros_like(p)
    for bucket in _buckets(learns):
        gradients = [p.grad for p in bucket if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        parts = torch.split(flat, [g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def _buckets(parameters: list[nn.Parameter]) -> Iterable[list[nn.Parameter]]:
    bucket: list[nn.Parameter] = []
    for p in parameters:
        full = sum(q.numel() for q in bucket) + p.numel() > BUCKET
        if bucket and (full or bucket[0].dtype != p.dtype):
            yield bucket
            bucket = []
        bucket.append(p)
    if bucket:
        yield bucket


def shard(inner: nn.Module, bfloat16: bool) -> None:
    """Part a model's weights among the processes (FSDP2), layer by layer.

    The packed weights of a 4-bit model stay whole in every process: bitsandbytes has no kernel for
    a part of one. What learns, and all other weights, are parted.

    Args:
        inner: the transformers model, adapters in its layers.
        bfloat16: gather weights in bfloat16; gradients are summed in float32 either way.

    Raises:
        FabulaError: its layers are not in a list.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    layers = decoder_layers(inner)
    if layers is None:
        raise FabulaError(f"{type(inner).__name__} has no list of layers; set parallel: ddp.")
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (world().size,))
    kind = torch.bfloat16 if bfloat16 else torch.float32
    policy = MixedPrecisionPolicy(
        param_dtype=kind, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    packed = {p for p in inner.parameters() if not p.is_floating_point()}
    for module in [*layers, inner]:
        fully_shard(module, mesh=mesh, mp_policy=policy, ignored_params=packed or None)
        assert isinstance(module, FSDPModule)
        # The loss is divided by the weight of all processes' tokens, so gradients are summed.
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)  # gloo knows no other


def is_sharded(model: nn.Module) -> bool:
    """Whether a model's weights are parted among processes."""
    from torch.distributed.tensor import DTensor

    return any(isinstance(p, DTensor) for p in model.parameters())


def whole(tensor: Tensor) -> Tensor:
    """A parted tensor put together (all processes have to ask), or the tensor itself."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def parted_like(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor, where `like` is parted; else the tensor itself."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    tensor = tensor.to(like.to_local())
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def whole_state(model: nn.Module) -> Mapping[str, Tensor] | None:
    """All weights of a parted model on the CPU of the first process (elsewhere empty); else None.

    All processes have to ask.
    """
    if not is_sharded(model):
        return None
    found = {}
    for name, tensor in model.state_dict().items():
        full = whole(tensor)
        if world().first:
            found[name] = full.cpu()
    return found
