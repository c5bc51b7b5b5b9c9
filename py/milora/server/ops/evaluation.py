"""``dataLoss``, ``scoreChoices``, ``routePrompts``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from milora.engine import ScoringRow
from milora.engine import score_choices as score
from milora.errors import MiloraError
from milora.server.call import Call
from milora.server.ops import session
from milora.server.ops.routing_changes import expert_names
from milora.training import RoutingCounts, prompt_routing
from milora.training import data_loss as compute_loss

Tables = Sequence[Sequence[Sequence[float]]]


def data_loss(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Teacher-forced loss of rows."""
    opened = session.current()
    dataset = opened.dataset(payload["data"])
    with opened.host.use(payload["adapter"]) as active:
        loss = compute_loss(
            active.model,
            dataset,
            payload["rows"],
            context=active.context,
            records=active.routing is not None,
            micro_batch=payload["microBatch"],
            pad_id=opened.encoder.pad_id,
            on_step=session.reporter(call, "evaluating"),
            ranks=session.ranks(),
        )
    routing = None
    if loss.routing is not None and payload["adapter"] is not None:
        routing = _routing_json(loss.routing, opened.host.config(payload["adapter"]))
    return {"nll": loss.nll, "answerTokens": loss.answer_tokens, "routing": routing}


def score_choices(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Log-likelihood of choices."""
    opened = session.current()
    rows = [ScoringRow(session.prompt_of(row), tuple(row["choices"])) for row in payload["rows"]]
    with opened.host.use(payload["adapter"]) as active:
        scores = score(
            active,
            opened.encoder,
            rows,
            micro_batch=payload["microBatch"],
            max_length=opened.opened.context_length,
            on_step=session.reporter(call, "scoring"),
        )
    return {
        "scores": [
            [{"logLikelihood": choice.log_likelihood, "tokens": choice.tokens} for choice in row] for row in scores
        ],
        "truncated": [index for index, row in enumerate(scores) if any(choice.truncated for choice in row)],
    }


def route_prompts(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """What an adapter's routers decide for prompts."""
    opened = session.current()
    adapter = payload["adapter"]
    prompts = [session.prompt_of(request) for request in payload["requests"]]
    prompt_ids = opened.encoder.prompt_ids(prompts)
    _check_lengths(prompt_ids, opened.opened.context_length)
    with opened.host.use(adapter) as active:
        if active.routing is None:
            message = f"The adapter {adapter!r} has no routers; only a MiLoRA adapter routes prompts."
            raise MiloraError("adapter/unsupported", message, found=adapter)
        routed = prompt_routing(
            active.model,
            active.routing,
            prompt_ids,
            explain=payload["explain"],
            micro_batch=payload["microBatch"],
            pad_id=opened.encoder.pad_id,
            on_step=session.reporter(call, "routing"),
        )
    config = opened.host.config(adapter)
    _, gates = _by_expert(routed.gates, config)
    return {**_routing_json(routed.counts, config), "gates": gates}


def _check_lengths(prompts: list[list[int]], longest: int | None) -> None:
    problems = [
        f"requests[{index}]: the prompt has {len(ids)} tokens"
        for index, ids in enumerate(prompts)
        if longest is not None and len(ids) > longest
    ]
    if problems:
        message = f"The model's context has room for {longest} tokens: {'; '.join(problems)}."
        allowed = f"at most {longest} tokens a prompt"
        raise MiloraError("input/invalid-spec", message, path="requests", allowed=allowed, problems=problems)


def _by_expert(tables: Tables, config: dict[str, Any]) -> tuple[list[str], Tables]:
    """The adapter's experts, and tables of [layers][experts of the layer] with a column for each of them.

    Layers may have different experts: columns are all names, in the order of their first appearance.
    """
    names = expert_names(config)
    experts = list(dict.fromkeys(name for layer in names for name in layer))

    def by_name(table: Sequence[Sequence[float]]) -> Sequence[Sequence[float]]:
        rows = [dict(zip(layer, row, strict=False)) for layer, row in zip(names, table, strict=True)]
        return [[row.get(expert, 0) for expert in experts] for row in rows]

    return experts, [by_name(table) for table in tables]


def _routing_json(routing: RoutingCounts, config: dict[str, Any]) -> dict[str, Any]:
    experts, (argmax, chosen) = _by_expert([routing.argmax, routing.chosen], config)
    return {
        "experts": experts,
        "argmax": argmax,
        "chosen": chosen,
        "prompts": routing.prompts,
        "balance": routing.balance,
    }
