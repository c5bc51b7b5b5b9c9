"""``generate``."""

from __future__ import annotations

from typing import Any

from milora.engine import GenerationRequest, GenerationSettings, Routing
from milora.engine import generate as run
from milora.errors import MiloraError
from milora.server.call import Call
from milora.server.ops import session
from milora.server.ops.evaluation import expert_names


def generate(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Greedy or beam search for every request, in order."""
    opened = session.current()
    _check_kept_names(payload["requests"])
    requests = [_request(opened, request, index) for index, request in enumerate(payload["requests"])]
    settings = GenerationSettings(payload["maxNewTokens"], payload["beams"], payload["explain"], payload["cutPrompts"])
    outputs = run(
        opened.host,
        opened.encoder,
        requests,
        settings,
        max_length=opened.opened.context_length,
        on_step=session.reporter(call, "generating"),
    )
    for request, output in zip(payload["requests"], outputs, strict=True):
        if output.decision is not None:
            opened.decisions.keep(request["keepDecisionAs"], request["adapter"], output.decision)
    return {
        "outputs": [
            {
                "text": output.text,
                "promptTokens": output.prompt_tokens,
                "newTokens": output.new_tokens,
                "finish": "stop" if output.stopped else "length",
                "routing": _routing_json(output.routing, request.adapter),
                "truncated": output.truncated,
            }
            for output, request in zip(outputs, requests, strict=True)
        ]
    }


def _check_kept_names(requests: list[dict[str, Any]]) -> None:
    names = [request["keepDecisionAs"] for request in requests]
    for index, name in enumerate(names):
        if name is not None and name in names[:index]:
            message = f"requests[{index}].keepDecisionAs: {name!r} is also that of requests[{names.index(name)}]."
            path = f"requests[{index}].keepDecisionAs"
            raise MiloraError("input/invalid-spec", message, path=path, found=name, hint="Give each its own name.")


def _request(opened: session.OpenSession, request: dict[str, Any], index: int) -> GenerationRequest:
    adapter, name = request["adapter"], request["decision"]
    return GenerationRequest(
        session.prompt_of(request),
        adapter,
        top_k=request["topK"],
        allowed=_allowed(opened, adapter, request["masked"], index),
        decision=None if name is None else opened.decisions.get(name, adapter),
        keeps_decision=request["keepDecisionAs"] is not None,
    )


def _allowed(
    opened: session.OpenSession, adapter: str | None, masked: list[str], index: int
) -> tuple[str, ...] | None:
    """The experts that are left when the masked ones are taken away."""
    if not masked or adapter is None:
        return () if masked else None
    opened.host.check(adapter)
    config = opened.host.config(adapter)
    known = list(dict.fromkeys(name for layer in expert_names(config) for name in layer)) if "layers" in config else []
    unknown = [name for name in masked if name not in known]
    if unknown and known:
        message = f"requests[{index}].masked: unknown expert {unknown[0]!r}; the adapter has {', '.join(known)}."
        path = f"requests[{index}].masked"
        raise MiloraError("input/unknown-name", message, path=path, found=unknown[0], allowed=", ".join(known))
    return tuple(name for name in known if name not in masked)


def _routing_json(routing: Routing | None, adapter: str | None) -> dict[str, Any] | None:
    if routing is None or adapter is None:
        return None
    names = expert_names(session.current().host.config(adapter))
    experts = [[layer[index] for index in chosen] for layer, chosen in zip(names, routing.experts, strict=True)]
    return {"experts": experts, "gates": [list(gates) for gates in routing.gates]}
