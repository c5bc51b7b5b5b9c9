"""``describeModel``, ``openModel``, ``closeModel``."""

from __future__ import annotations

from typing import Any

from milora.errors import MiloraError
from milora.models import choose_placement, describe, open_model, resolve_source, shard_base
from milora.server.call import Call
from milora.server.ops import session


def describe_model(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """A model's layers and linear modules, from its configuration alone."""
    described = describe(resolve_source(payload["model"]))
    layers = [
        {
            "path": layer.path,
            "linears": [
                {
                    "name": linear.name,
                    "inFeatures": linear.in_features,
                    "outFeatures": linear.out_features,
                    "bias": linear.bias,
                }
                for linear in layer.linears
            ],
        }
        for layer in described.layers
    ]
    return {
        "model": described.model,
        "location": described.location,
        "architecture": described.architecture,
        "modelType": described.model_type,
        "hiddenSize": described.hidden_size,
        "numParameters": described.num_parameters,
        "vocabSize": described.vocab_size,
        "contextLength": described.context_length,
        "layers": layers,
        "otherLinears": list(described.other_linears),
    }


def open_model_op(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Opens a model; one that was open is closed first."""
    placement = choose_placement(payload["device"], payload["dtype"], payload["attention"], payload["quantization"])
    source = resolve_source(payload["model"])
    session.end()
    ranks = session.ranks()
    if ranks.lockstep and placement.quantization != "none":
        message = "A quantised base cannot be sharded; scale.strategy is shard and the quantisation is not none."
        hint = "Use scale.strategy replicate, or no quantisation."
        raise MiloraError("input/invalid-spec", message, path="scale.strategy", found="shard", hint=hint)
    report = session.reporter(call, "converting the GGUF file")
    with ranks.together():
        opened = open_model(source, placement, payload["seed"], report, to_shard=ranks.lockstep)
    if ranks.lockstep:
        shard_base(opened.model, placement.device)
    call.check()
    opened_session = session.begin(opened)
    return {
        "model": source.name,
        "device": str(placement.device),
        "dtype": str(placement.dtype).removeprefix("torch."),
        "attention": opened.placement.attention,
        "numParameters": opened.num_parameters,
        "contextLength": opened.context_length,
        "hasChatTemplate": opened_session.encoder.has_chat_template,
        "reason": placement.reason,
    }


def close_model(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Lets go of the open model, its data, adapters and training."""
    session.end()
    return {}
