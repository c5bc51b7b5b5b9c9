"""Errors of ranks, told by the driver with the rank and its node."""

from __future__ import annotations

from typing import Any

from milora.errors import ERROR_CODES, MiloraError

Link = dict[str, Any]
"""An exception as :mod:`milora.server.envelope` describes it."""


class RankError(MiloraError):
    """What a rank raised, as it described it: ``links`` are the exception, with its place, and its causes.

    Args:
        links: At least one.
        place: Such as ``rank 1 of 4 on node 10.0.0.7``.
    """

    def __init__(self, links: list[Link], place: str) -> None:
        first = links[0]
        code = first.get("code", "python/exception")
        message = f"{first['message']} ({place})"
        super().__init__(code if code in ERROR_CODES else "internal", message, **first.get("details", {}))
        self.links = [{**first, "message": message}, *links[1:]]

    @property
    def follows_another(self) -> bool:
        """True where the rank only stopped because others did."""
        return self.code == "scale/lost"

    @property
    def is_cut_off(self) -> bool:
        """True where the rank cannot reach the others any more."""
        return self.follows_another and self.links[0]["type"] == "MiloraError"


def lost(place: str, reason: str) -> MiloraError:
    """A rank, or what it runs on, is gone."""
    return MiloraError(
        "scale/lost",
        f"{place[0].upper()}{place[1:]} is lost: {reason}",
        found=place,
        hint="The newest checkpoint is whole: go on from it with --resume, also with another number of ranks "
        "(--allow scale.ranks). A sweep goes on by the same command.",
    )
