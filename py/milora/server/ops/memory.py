"""Out of memory, on a GPU or not, as one error."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import Any

import torch

from milora.errors import MiloraError
from milora.server.call import Call

Operation = Callable[[dict[str, Any], Call], dict[str, Any]]

_hint = "Use a smaller microBatch or maxLength, fewer beams, or a smaller dtype."


def reports_memory(operation: Operation) -> Operation:
    """Wraps an operation: what torch or Python raise for lack of memory becomes ``memory/exhausted``."""

    @functools.wraps(operation)
    def wrapped(payload: dict[str, Any], call: Call) -> dict[str, Any]:
        try:
            return operation(payload, call)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise _exhausted(error) from error
        except RuntimeError as error:
            # torch's allocator of the CPU has no class of its own.
            if "can't allocate memory" not in str(error):
                raise
            raise _exhausted(error) from error

    return wrapped


def _exhausted(error: BaseException) -> MiloraError:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return MiloraError("memory/exhausted", f"There is not enough memory: {text}", hint=_hint)
