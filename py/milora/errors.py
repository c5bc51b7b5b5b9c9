"""Errors that milora raises on purpose; the twin of ``ts/errors.ts``."""

from __future__ import annotations

ERROR_CODES: tuple[str, ...] = (
    "input/invalid-spec",
    "input/unknown-name",
    "input/missing-file",
    "data/bad-row",
    "data/empty",
    "data/not-found",
    "data/unreachable",
    "data/unreadable",
    "model/not-found",
    "model/unreadable",
    "model/unsupported",
    "adapter/not-found",
    "adapter/unreadable",
    "adapter/mismatch",
    "adapter/bad-name",
    "adapter/unsupported",
    "environment/no-python",
    "environment/missing-package",
    "environment/install-failed",
    "bridge/died",
    "bridge/protocol",
    "bridge/timeout",
    "bridge/closed",
    "python/exception",
    "run/exists",
    "run/not-resumable",
    "run/disk",
    "training/non-finite",
    "memory/exhausted",
    "judge/unusable",
    "judge/unreachable",
    "scale/no-room",
    "scale/unreachable",
    "scale/mismatch",
    "scale/lost",
    "cancelled",
    "internal",
)


class MiloraError(Exception):
    """An error with a code from :data:`ERROR_CODES` and, where known, its place and cure.

    Args:
        code: One of :data:`ERROR_CODES`.
        message: One or two sentences: what was found, where, what is allowed, what to do.
        details: Any of ``file``, ``line`` (1-based), ``path`` (JSON path), ``found``, ``allowed``, ``hint``
            (strings but for ``line``) and ``problems`` (a list of sentences).

    Attributes:
        docs: Where the code is explained, such as ``docs/errors.md#data-bad-row``.
    """

    def __init__(self, code: str, message: str, **details: object) -> None:
        assert code in ERROR_CODES, code
        super().__init__(message)
        self.code = code
        self.docs = f"docs/errors.md#{code.replace('/', '-')}"
        self.message = message
        self.details = details


class CancelledError(MiloraError):
    """The caller asked for the running call to end."""

    def __init__(self) -> None:
        super().__init__("cancelled", "The call was cancelled.")


class OtherRankError(MiloraError):
    """Another rank of a training failed, so this one stopped with it; the other one knows why."""

    def __init__(self, ranks: list[int]) -> None:
        super().__init__("scale/lost", f"Stopped with rank {', '.join(map(str, ranks))}, which failed.")
