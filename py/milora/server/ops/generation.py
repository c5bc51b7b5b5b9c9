"""``generate``."""

from __future__ import annotations

from typing import Any

from milora.engine import GenerationRequest, GenerationSettings, Routing
from milora.engine import generate as run
from milora.server.call import Call
from milora.server.ops import session
from milora.server.ops.evaluation import expert_names


def generate(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Greedy or beam search for every request, in order."""
    opened = session.current()
    requests = [
        GenerationRequest(session.prompt_of(request["prompt"], request["chat"]), request["adapter"])
        for request in payload["requests"]
    ]
    settings = GenerationSettings(payload["maxNewTokens"], payload["beams"], payload["explain"])
    outputs = run(
        opened.host,
        opened.encoder,
        requests,
        settings,
        max_length=opened.opened.context_length,
        on_step=session.reporter(call, "generating"),
    )
    return {
        "outputs": [
            {
                "text": output.text,
                "promptTokens": output.prompt_tokens,
                "newTokens": output.new_tokens,
                "finish": "stop" if output.stopped else "length",
                "routing": _routing_json(output.routing, request.adapter),
            }
            for output, request in zip(outputs, requests, strict=True)
        ]
    }


def _routing_json(routing: Routing | None, adapter: str | None) -> dict[str, Any] | None:
    if routing is None or adapter is None:
        return None
    names = expert_names(session.current().host.config(adapter))
    experts = [[layer[index] for index in chosen] for layer, chosen in zip(names, routing.experts, strict=True)]
    return {"experts": experts, "gates": [list(gates) for gates in routing.gates]}
