"""Which ranks an operation runs on while the model is open on several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from milora.errors import MiloraError

Route = Literal["driver", "all", "dealt", "first"]
"""``driver``: needs no model, runs beside the ranks. ``all``: every rank, for they must stay alike or share the work;
the first one answers. ``dealt``: requests are dealt out, answers put together. ``first``: the first rank alone."""

_BY_ROUTE: Mapping[Route, Sequence[str]] = {
    "driver": [
        "hello",
        "describeModel",
        "fetchHubRows",
        "exportRows",
        "writeScalars",
        "exportLora",
        "inspectRay",
        "rayTasksOpen",
        "rayTasksTurn",
        "rayTasksClose",
    ],
    "all": [
        "openModel",
        "closeModel",
        "loadRows",
        "attachAdapter",
        "loadAdapter",
        "unloadAdapter",
        "saveAdapter",
        "startTraining",
        "setMicroBatch",
        "trialStep",
        "weightsStep",
        "activationStep",
        "pruneCandidates",
        "discretise",
        "trainingFigures",
        "saveTraining",
        "loadTraining",
        "stopTraining",
        "dataLoss",
    ],
    "dealt": ["generate", "scoreChoices"],
    "first": [
        "importLora",
        "routePrompts",
        "benchTrain",
        "trainCurves",
        "benchDecode",
        "benchTenants",
        "engineOpen",
        "engineLoad",
        "engineUnload",
        "engineAdapters",
        "engineStatistics",
        "engineSubmit",
        "engineStep",
        "engineClose",
    ],
}

ROUTES: Mapping[str, Route] = {name: route for route, names in _BY_ROUTE.items() for name in names}

STEPS = ("weightsStep", "activationStep")
"""What every rank makes, or none."""

IN_LOCKSTEP = ("dataLoss", *_BY_ROUTE["dealt"], "routePrompts")
"""What computes passes and may be cancelled between them: where each rank holds a part of the base, every rank makes
all of them, and they end together."""

WHOLE_BASE = tuple(
    name for name in _BY_ROUTE["first"] if name.startswith(("bench", "engine")) or name == "trainCurves"
)
"""What reads the base's weights outside a pass: it needs the whole base."""

_LISTS = {"generate": "requests", "scoreChoices": "rows"}


def route_of(name: str, *, lockstep: bool) -> Route:
    """Which ranks an operation runs on; ``lockstep``: each holds a part of the base.

    Raises:
        MiloraError: ``input/invalid-spec`` for one that needs the whole base.
    """
    if not lockstep:
        return ROUTES[name]
    if name in WHOLE_BASE:
        message = f"{name} needs the whole base in one process; with scale.strategy shard each rank holds a part."
        hint = "Use scale.strategy replicate, or leave scale out."
        raise MiloraError("input/invalid-spec", message, path="scale.strategy", found="shard", hint=hint)
    return "all" if name in IN_LOCKSTEP else ROUTES[name]


def shares(name: str, payload: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """A dealt operation's payload for each rank, in turn; one alone where requests build on another's decision."""
    key = _LISTS[name]
    asked = payload[key]
    if any(one.get("keepDecisionAs") is not None or one.get("decision") is not None for one in asked):
        return [payload]
    return [{**payload, key: asked[rank::count]} for rank in range(min(count, len(asked)))]


def put_together(name: str, answers: list[dict[str, Any]], asked: int) -> dict[str, Any]:
    """The answer that one rank would have given to all requests."""
    count = len(answers)
    if count == 1:
        return answers[0]
    key = "outputs" if name == "generate" else "scores"
    joined = {key: [answers[index % count][key][index // count] for index in range(asked)]}
    if name == "scoreChoices":
        places = [place * count + rank for rank, one in enumerate(answers) for place in one["truncated"]]
        joined["truncated"] = sorted(places)
    return joined


def number_asked(name: str, payload: dict[str, Any]) -> int:
    """Requests of a dealt operation."""
    return len(payload[_LISTS[name]])


def one_answer(name: str, answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer of an operation that every rank ran: the first one's; of memory what the tightest rank says."""
    if name == "trialStep":
        free = [answer["freeBytes"] for answer in answers]
        known = [value for value in free if value is not None]
        used = max(answer["usedBytes"] for answer in answers)
        return {"usedBytes": used, "freeBytes": min(known) if len(known) == len(free) else None}
    return answers[0]
