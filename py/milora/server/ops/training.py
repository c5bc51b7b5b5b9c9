"""``startTraining``, ``weightsStep``, ``activationStep``, ``trainingFigures``, ``saveTraining`` and so on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from milora.errors import MiloraError
from milora.models import Placement
from milora.server.call import Call
from milora.server.ops import session
from milora.training import Group, TrainingSession, TrainingSettings, VirtualStep
from milora.training import load_training as load_state
from milora.training import save_training as save_state
from milora.training.memory import free_bytes
from milora.training.recomputation import recompute_layers
from milora.tuners.methods import hooks_of


def start_training(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Opens the training of one adapter."""
    opened = session.current()
    if opened.training is not None:
        message = f"The adapter {opened.training.adapter!r} is in training; call stopTraining first."
        raise MiloraError("input/invalid-spec", message)
    _check_float16(opened.opened.placement)
    settings = TrainingSettings(
        micro_batch=payload["microBatch"],
        weight_decay=payload["weightDecay"],
        weight_decay_on=payload["weightDecayOn"],
        lora_plus_ratio=payload["loraPlusRatio"],
        betas=(payload["betas"][0], payload["betas"][1]),
        epsilon=payload["epsilon"],
        max_gradient_norm=payload["maxGradientNorm"],
        balance=payload["balance"],
        compile=payload["compile"],
        seed=payload["seed"],
    )
    adapter = payload["adapter"]
    with opened.host.use(adapter) as active:
        training = TrainingSession(active.model, adapter, settings, opened.encoder.pad_id, session.ranks())
        recompute_layers(opened.opened.model, payload["gradientCheckpointing"])
    opened.training = training
    opened.host.hold(adapter)
    return {
        "weights": opened.training.weights.num_parameters,
        "activation": opened.training.activation.num_parameters,
    }


def _check_float16(placement: Placement) -> None:
    if placement.dtype == torch.float16 and placement.device.type != "cuda":
        raise MiloraError(
            "input/invalid-spec",
            f"A base model in float16 is trained on CUDA alone, where the loss is scaled; this one is on "
            f"{placement.device}.",
            path="train.dtype",
            found=f"float16 on {placement.device}",
            allowed="float32, bfloat16",
            hint="Set train.dtype to bfloat16 or float32.",
        )


def set_micro_batch(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """How many rows are computed at once from now on."""
    session.current().open_training().micro_batch = payload["rows"]
    return {}


def trial_step(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """The gradients of rows, thrown away, for the memory that they take."""
    opened = session.current()
    training = opened.open_training()
    dataset = opened.dataset(payload["data"])
    with opened.host.use(training.adapter):
        used = training.trial(dataset, payload["rows"])
    return {"usedBytes": used, "freeBytes": free_bytes(opened.opened.placement.device)}


def weights_step(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """One step on Ω."""
    return _step(payload, "weights", budget_step=payload["budgetStep"])


def activation_step(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """One step on Θ."""
    opened = session.current()
    virtual = payload["virtualStep"]
    if virtual is None:
        return _step(payload, "activation")
    return _step(
        payload,
        "activation",
        VirtualStep(opened.dataset(virtual["data"]), virtual["rows"], virtual["learningRate"]),
    )


def _step(
    payload: dict[str, Any], kind: Group, virtual: VirtualStep | None = None, budget_step: int | None = None
) -> dict[str, Any]:
    opened = session.current()
    training = opened.open_training()
    dataset = opened.dataset(payload["data"])
    with opened.host.use(training.adapter):
        training.step(dataset, payload["rows"], payload["learningRate"], kind, virtual, budget_step)
    return {}


def prune_candidates(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Drops the weakest candidate of each place of a search."""
    opened = session.current()
    with opened.host.use(payload["adapter"]) as active:
        return {"left": hooks_of(active.model, payload["adapter"]).prune(active.model, payload["adapter"])}


def discretise(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """The plan that a search ends with."""
    opened = session.current()
    with opened.host.use(payload["adapter"]) as active:
        return {"config": hooks_of(active.model, payload["adapter"]).discretised(active.model, payload["adapter"])}


def training_figures(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Figures of the steps since the last call."""
    steps = [
        {
            "kind": figures.kind,
            "loss": figures.loss,
            "balance": figures.balance,
            "gradientNorm": figures.gradient_norm,
            "answerTokens": figures.answer_tokens,
            "tokens": figures.tokens,
        }
        for figures in session.current().open_training().figures()
    ]
    return {"steps": steps}


def save_training(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Writes the training's state."""
    return {"bytes": save_state(session.current().open_training(), Path(payload["folder"]))}


def load_training(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Puts a saved state into the open training."""
    load_state(session.current().open_training(), Path(payload["folder"]))
    return {}


def stop_training(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Ends the training; the adapter stays as it is. Without a training nothing happens."""
    opened = session.current()
    opened.training = None
    opened.host.hold(None)
    recompute_layers(opened.opened.model, False)
    return {}
