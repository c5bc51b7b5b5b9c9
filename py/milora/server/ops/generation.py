"""``generate``."""

from __future__ import annotations

from typing import Any

from milora.engine import Generated, GenerationRequest, GenerationSettings, generate_texts
from milora.errors import MiloraError
from milora.server.call import Call
from milora.server.ops import session
from milora.server.ops.routing_changes import read_change, routing_json


def generate(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Greedy or beam search for every request, in order."""
    opened = session.current()
    _check_kept_names(payload["requests"])
    requests = [_request(opened, request, index) for index, request in enumerate(payload["requests"])]
    settings = GenerationSettings(
        max_new_tokens=payload["maxNewTokens"],
        beams=payload["beams"],
        explain=payload["explain"],
        cut_prompts=payload["cutPrompts"],
        compiled=payload["compile"],
    )
    outputs = generate_texts(
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
                "routing": _routing_json(opened, output, request),
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
    adapter = request["adapter"]
    config = {} if adapter is None else opened.host.config(adapter)
    change = read_change(request, f"requests[{index}]", config, opened.decisions)
    return GenerationRequest(session.prompt_of(request), adapter, **vars(change))


def _routing_json(opened: session.OpenSession, output: Generated, request: GenerationRequest) -> dict[str, Any] | None:
    if output.routing is None or request.adapter is None:
        return None
    return routing_json(output.routing, opened.host.config(request.adapter))
