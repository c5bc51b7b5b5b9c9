"""Ranks as actors of Ray: started, asked, watched and ended from the driver."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from milora.errors import CancelledError, MiloraError
from milora.server.call import Call
from milora.server.ranks import routes
from milora.server.ranks.errors import RankError, lost
from milora.server.ranks.meeting import Meeting
from milora.server.ranks.rank import Answer, versions
from milora.server.ranks.ray_cluster import Cluster, place_ranks, start_ray

_SECONDS_BETWEEN_LOOKS = 0.05
_SECONDS_TO_FOLLOW = 3.0
_SECONDS_TO_START = 300


def open_ray_group(scale: dict[str, Any], call: Call) -> RayGroup:
    """Starts the ranks of a spec's ``scale``.

    Raises:
        MiloraError: ``environment/missing-package``, ``scale/unreachable``, ``scale/no-room``, ``scale/mismatch``,
            ``scale/lost``, ``input/invalid-spec``.
    """
    cluster = start_ray(scale["address"])
    group: RayGroup | None = None
    try:
        group = RayGroup(cluster, scale)
        group.join(call)
    except BaseException:
        if group is None:
            cluster.leave()
        else:
            group.close()
        raise
    return group


class RayGroup:
    """See :class:`milora.server.ranks.group.RankGroup`.

    An operation that fails on a rank leaves the group usable: the others stop at the same place. A rank that is lost
    ends the group; from then on every operation raises the same error.
    """

    def __init__(self, cluster: Cluster, scale: dict[str, Any]) -> None:
        self._cluster = cluster
        self._count: int = scale["ranks"]
        self._lockstep: bool = scale["strategy"] == "shard"
        self._actors = place_ranks(scale, cluster)
        self._nodes = ["?"] * self._count
        self._number = 0
        self._end: MiloraError | None = None
        self._meeting = Meeting.held(cluster.own_host, _SECONDS_TO_START)

    def join(self, call: Call) -> None:
        """Waits until all ranks have met."""
        about = self._ask([actor.about.remote() for actor in self._actors], call, _SECONDS_TO_START)
        self._nodes = [one["node"] for one in about]
        problems = [
            f"{self._place(rank)} has {difference}"
            for rank, one in enumerate(about)
            for difference in differences(one["versions"])
        ]
        if problems:
            message = f"The nodes do not have the same versions: {'; '.join(problems)}."
            raise MiloraError("scale/mismatch", message, problems=problems, hint="Use one image on all nodes.")
        own = (self._cluster.own_host, self._meeting.port)
        meeting = [actor.join.remote(*own, self._lockstep) for actor in self._actors]
        self._ask(meeting, call, _SECONDS_TO_START)

    def run(self, name: str, payload: dict[str, Any], call: Call) -> dict[str, Any]:
        """See :meth:`RankGroup.run`."""
        if self._end is not None:
            raise self._end
        route = routes.route_of(name, lockstep=self._lockstep)
        payloads = [payload] if route == "first" else [payload] * self._count
        if route == "dealt":
            payloads = routes.shares(name, payload, self._count)
        self._number += 1
        asked = [actor.run.remote(name, own, self._number) for actor, own in zip(self._actors, payloads, strict=False)]
        answers = self._values(name, self._ask(asked, call))
        self._check_written(payload)
        if route == "dealt":
            return routes.put_together(name, answers, routes.number_asked(name, payload))
        return routes.one_answer(name, answers)

    def close(self) -> None:
        """Ends the ranks, and Ray where it was started for them; of a group that ended by itself nothing is left."""
        if not self._actors:
            return
        # Whom Ray cannot end any more ends by itself.
        self._meeting.close()
        if self._cluster.answers():
            for actor in self._actors:
                with contextlib.suppress(RayError):
                    ray.kill(actor)
        self._actors = []
        self._cluster.leave()

    def _place(self, rank: int) -> str:
        return f"rank {rank} of {self._count} on node {self._nodes[rank]}"

    def _ask(self, asked: list[Any], call: Call, seconds: float | None = None) -> list[Any]:
        """What the ranks answer, in their order; events of the first rank are passed on meanwhile.

        Raises:
            MiloraError: ``scale/lost``.
        """
        waiting = dict(zip(asked, range(len(asked)), strict=True))
        found: dict[int, Any] = {}
        end = None if seconds is None else time.monotonic() + seconds
        following: float | None = None
        cancelled = False
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=_SECONDS_BETWEEN_LOOKS)
            for reference in ready:
                found[waiting[reference]] = self._get(reference, waiting[reference])
                del waiting[reference]
            self._pass_on(call)
            cancelled = cancelled or self._wants_end(call)
            self._look_at_head()
            now = time.monotonic()
            if waiting and (following is not None or self._stopped(found)):
                following = following or now
                if now - following > _SECONDS_TO_FOLLOW:
                    raise self._ended(self._left_behind(found, min(waiting.values())))
            if waiting and end is not None and now > end:
                raise self._ended(lost(self._place(min(waiting.values())), f"it did not start in {seconds} s."))
        return [found[index] for index in range(len(asked))]

    def _look_at_head(self) -> None:
        try:
            self._cluster.check_head()
        except MiloraError as error:
            raise self._ended(error) from None

    def _get(self, reference: Any, rank: int) -> Any:
        try:
            return ray.get(reference)
        except RayError as error:
            raise self._ended(lost(self._place(rank), reason(error))) from error

    def _stopped(self, found: dict[int, Any]) -> bool:
        """True where a rank cannot reach the others any more: one of them is gone, or soon tells the same.

        In lockstep an error of any kind leaves the others in the middle of a pass.
        """
        errors = self._errors(found)
        return any(self._lockstep or error.is_cut_off for error in errors)

    def _left_behind(self, found: dict[int, Any], silent: int) -> MiloraError:
        """Why the group ends while a rank is silent."""
        causes = [error for error in self._errors(found) if not error.follows_another]
        return causes[0] if causes else lost(self._place(silent), "it does not answer, while other ranks lost it.")

    def _errors(self, found: dict[int, Any]) -> list[RankError]:
        """What ranks raised; ``found`` may hold answers of other kinds, while the group is made."""
        answers = {rank: one for rank, one in found.items() if isinstance(one, tuple)}
        return [RankError(links, self._place(rank)) for rank, (value, links) in answers.items() if value is None]

    def _wants_end(self, call: Call) -> bool:
        try:
            call.check()
        except CancelledError:
            self._meeting.cancel(self._number)
            return True
        return False

    def _pass_on(self, call: Call) -> None:
        for event in self._meeting.told():
            call.emit(event)

    def _values(self, name: str, answers: list[Answer]) -> list[dict[str, Any]]:
        errors = self._errors(dict(enumerate(answers)))
        if errors:
            # The first cause: others may only have stopped with it.
            error = next((error for error in errors if not error.follows_another), errors[0])
            if name in routes.STEPS and len(errors) < len(answers):
                # Some have made the step: the ranks are not alike any more.
                raise self._ended(error)
            raise error
        return [value for value, _ in answers if value is not None]

    def _check_written(self, payload: dict[str, Any]) -> None:
        """The first rank writes; what it wrote must be seen from here."""
        folder = payload.get("folder")
        if folder is None or Path(folder).exists():
            return
        message = f"{self._place(0)} wrote {folder}, which cannot be seen on the driver's node."
        hint = "Put the run's folder on storage that all nodes share."
        raise MiloraError("run/disk", message, file=str(folder), hint=hint)

    def _ended(self, error: MiloraError) -> MiloraError:
        """The group is broken: its ranks end now, whatever they do."""
        self._end = error
        self.close()
        return error


def differences(there: dict[str, str]) -> list[str]:
    """Where another process's versions differ from this one's, such as ``torch 2.14.0, the driver 2.13.0``."""
    here = versions()
    return [f"{name} {there.get(name)}, the driver {here[name]}" for name in here if there.get(name) != here[name]]


def reason(error: Exception) -> str:
    """The sentence of Ray's error that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "exit type" in line or "died" in line or "Error" in line]
    return (telling or lines or [type(error).__name__])[-1][:300]
