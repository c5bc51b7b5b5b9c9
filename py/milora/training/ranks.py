"""The ranks that share a step: one process, or several joined by ``torch.distributed``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
import torch.distributed as distributed
from torch import Tensor

from milora.errors import MiloraError, OtherRankError

Value = TypeVar("Value")


class Ranks:
    """This process among the ranks of a training; here it is the only one, and everything is whole already."""

    index = 0
    count = 1
    lockstep = False
    """Whether a pass needs all ranks, since each holds a part of the base (:mod:`milora.models.sharding`)."""

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Around what a rank computes alone, before the ranks exchange: where one fails, none of them waits for it."""
        yield

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replaces each tensor by its sum over the ranks, bit for bit the same on all, in one exchange."""

    def gathered(self, value: Value) -> list[Value]:
        """The value of every rank, in their order."""
        return [value]


ALONE = Ranks()


class JoinedRanks(Ranks):
    """A process of the default process group, which must be able to exchange tensors of the CPU too."""

    def __init__(self, *, lockstep: bool = False) -> None:
        self.index = distributed.get_rank()
        self.lockstep = lockstep
        self.count = distributed.get_world_size()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """See :meth:`Ranks.together`.

        Raises:
            OtherRankError: another rank failed inside; what failed here is raised as it is.
        """
        failure: Exception | None = None
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again, once the others know
            failure = error
        failed = torch.zeros(self.count, dtype=torch.int32)
        failed[self.index] = failure is not None
        try:
            self.add_up([failed])
        except MiloraError as lost:
            raise failure or lost from lost
        if failure is not None:
            raise failure
        if failed.any():
            raise OtherRankError(failed.nonzero().flatten().tolist())

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """See :meth:`Ranks.add_up`.

        Raises:
            MiloraError: ``scale/lost``, the others cannot be reached.
        """
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        with _told():
            distributed.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        with torch.no_grad():
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def gathered(self, value: Value) -> list[Value]:
        """See :meth:`Ranks.gathered`; what can be pickled, and holds no tensor of a GPU.

        Raises:
            MiloraError: ``scale/lost``, the others cannot be reached.
        """
        values: list[Value | None] = [None] * self.count
        with _told():
            distributed.all_gather_object(values, value)
        return values  # pyright: ignore[reportReturnType] - every place is filled


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"The other ranks of the training cannot be reached any more: {first}"
        raise MiloraError("scale/lost", message) from error
