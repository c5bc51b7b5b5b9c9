"""The random numbers of one computation, drawn again by another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor


class RandomState:
    """The state of torch's generators, of the CPU and of one device, as it is now."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._states = self._read()

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        """Inside, the numbers are drawn that followed the state; afterwards the generators are as they were before."""
        outside = self._read()
        self._write(self._states)
        try:
            yield
        finally:
            self._write(outside)

    def restore(self) -> None:
        """The generators are again as they were when the state was taken."""
        self._write(self._states)

    def _read(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self._device.type != "cpu":
            states.append(torch.get_device_module(self._device).get_rng_state(*self._place()))
        return states

    def _write(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if len(states) > 1:
            torch.get_device_module(self._device).set_rng_state(states[1], *self._place())

    def _place(self) -> tuple[torch.device, ...]:
        # Apple's module knows one device only.
        return () if self._device.type == "mps" else (self._device,)
