"""Several processes that train one network: who this one is, and what they tell each other.

Started by `torchrun` or `accelerate launch`, which both say in the environment who a process is; PyTorch's own
`DistributedDataParallel` does the rest. Only numbers travel, never pickled objects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import UsageError, Yolov3Error
from .network import Network

# How long a process waits for the others; one that has died is noticed at once.
PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of one training.

    Attributes:
        rank: this one's number, from 0; the first one writes files and speaks.
        ranks: how many there are.
        device: where this one computes.
    """

    rank: int
    ranks: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def wrap(self, network: Network) -> nn.Module:
        """The network as it is to be called: with several processes gradients become their mean.

        On GPUs batch normalisation uses the statistics of all processes (`SyncBatchNorm`). PyTorch has none for the
        CPU: there each process normalises by its own share, and the running statistics become the mean of all after
        every step (`share_statistics`).
        """
        if self.ranks == 1:
            return network
        if self.device.type == "cuda":
            synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
            return DistributedDataParallel(synchronised, device_ids=[self.device.index], broadcast_buffers=False)
        return DistributedDataParallel(network, broadcast_buffers=False)

    def share_statistics(self, tensors: Sequence[Tensor]) -> None:
        """Make tensors the mean over all processes, in place."""
        if self.ranks == 1 or not tensors:
            return
        flat = torch.cat([value.flatten() for value in tensors])
        dist.all_reduce(flat)
        flat /= self.ranks
        for value, part in zip(tensors, torch.split(flat, [value.numel() for value in tensors]), strict=True):
            value.copy_(part.view_as(value))

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sums of numbers over all processes."""
        if self.ranks == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return list(total.tolist())

    def gather(self, rows: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Every process's rows (its own N, columns), to all."""
        if self.ranks == 1:
            return [rows]
        counts = torch.zeros(self.ranks, dtype=torch.int64, device=self.device)
        counts[self.rank] = len(rows)
        dist.all_reduce(counts)
        most = int(counts.max())
        padded = torch.zeros(most, rows.shape[1], dtype=torch.float64, device=self.device)
        padded[: len(rows)] = torch.from_numpy(rows).to(self.device)
        parts = [torch.empty_like(padded) for _ in range(self.ranks)]
        dist.all_gather(parts, padded)
        return [part[:count].cpu().numpy() for part, count in zip(parts, counts.tolist(), strict=True)]


ALONE = Processes(0, 1, torch.device("cpu"))
"""A single process on the CPU."""


def without_exchange(module: nn.Module) -> AbstractContextManager[None]:
    """Inside, gradients stay this process's own: for all batches of a step but its last."""
    if isinstance(module, DistributedDataParallel):
        return module.no_sync()
    return nullcontext()


@contextmanager
def all_processes(device: str = "cpu", threads: int | None = None) -> Iterator[Processes]:
    """Join the other processes, if there are any, for as long as the block lasts.

    Args:
        device: "cpu", "cuda", "cuda:N", "mps" …; "cuda" with several processes gives each its own.
        threads: with which this process computes on the CPU; by default all cores, or what the launcher says.

    Raises:
        UsageError: there is no such device.
        Yolov3Error: the others can't be reached.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")) if ranks > 1 else 0)
    if ranks == 1:
        yield Processes(0, 1, chosen)
        return
    try:
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Yolov3Error(f"process {rank} of {ranks} can't reach the others ({reason})") from None
    try:
        yield Processes(rank, ranks, chosen)
    except RuntimeError as error:
        if not is_lost(error):
            raise
        raise Yolov3Error(
            f"process {rank} of {ranks} lost the others: one has ended (its own message says why); start all again "
            "with --resume"
        ) from error
    finally:
        dist.destroy_process_group()


def is_lost(error: RuntimeError) -> bool:
    """Whether this is how the exchange fails when a process has gone."""
    text = str(error)
    return isinstance(error, dist.DistError) or any(
        word in text for word in ("Connection closed", "Connection reset", "gloo", "NCCL", "Timed out", "Broken pipe")
    )


def _device(name: str, local_rank: int) -> torch.device:
    try:
        device = torch.device("cuda", local_rank) if name == "cuda" else torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = " ".join(str(error).split(".")[0].split())
        raise UsageError(f"--device {name}: {reason}; expected cpu, cuda, cuda:N or mps as PyTorch has it") from None
    return device
