"""Training by transformers' Trainer: the same steps as ours, checkpoints, resume, the best model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import Trainer, TrainingArguments

import milora
from milora.checkpoint import attach_adapter
from milora.data import Dataset, collate
from milora.errors import MiloraError
from milora.hf_trainer import MiloraTrainer
from milora.routing.context import routing_context
from milora.training import TrainingSession, TrainingSettings
from milora.tuners import split_parameters

STEPS = 20
BATCH = 4
RATE = 1e-2
DECAY = 0.01
BALANCE = 0.1


@pytest.fixture
def adapted(tiny_model, randomize):
    """``adapted(name="default", scale=0.1, **plan)``: a tiny Llama with a new adapter, moved off its start."""

    def build(name: str = "default", scale: float = 0.1, **plan: Any) -> PeftModel:
        base = tiny_model("llama")
        model = milora.attach(base, milora.plan(base, **{"rank": 4, "top_k": 2, **plan}), name)
        randomize(model, name, scale=scale)
        return model

    return build


@pytest.fixture
def trainer_of(labelled, pad_right, tmp_path):
    """``trainer_of(model, kind=MiloraTrainer, options={}, **training arguments)``."""

    def build(model: PeftModel, kind: type[Trainer] = MiloraTrainer, options: dict[str, Any] | None = None, **changes):
        arguments = {
            "output_dir": str(tmp_path / "run"),
            "per_device_train_batch_size": BATCH,
            "max_steps": STEPS,
            "learning_rate": RATE,
            "weight_decay": DECAY,
            "lr_scheduler_type": "linear",
            "warmup_steps": 0,
            "max_grad_norm": 1.0,
            "train_sampling_strategy": "sequential",
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "logging_strategy": "no",
            "use_cpu": True,
            "seed": 0,
            **changes,
        }
        return kind(
            model=model,
            args=TrainingArguments(**arguments),
            train_dataset=labelled,
            eval_dataset=labelled[:8],
            data_collator=pad_right,
            **(options or {}),
        )

    return build


def parameters(model: PeftModel, name: str = "default") -> dict[str, torch.Tensor]:
    omega, theta = split_parameters(model, name)
    return {key: value.detach().clone() for key, value in {**omega, **theta}.items()}


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[key] - other[key]).abs().max()) for key in one)


def by_session(model: PeftModel, rows: Dataset, micro_batch: int = BATCH, batch: int = BATCH) -> dict:
    settings = TrainingSettings(micro_batch=micro_batch, weight_decay=DECAY, balance=BALANCE, seed=0)
    session = TrainingSession(model, "default", settings, pad_id=0)
    for step in range(STEPS):
        indices = [(step * batch + index) % len(rows.rows) for index in range(batch)]
        session.step(rows, indices, RATE * (STEPS - step) / STEPS, "weights")
    return parameters(model)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_twenty_steps_equal_ours(adapted, trainer_of, token_rows, accumulated):
    batch = BATCH * accumulated
    start = parameters(adapted())
    ours = by_session(adapted(), token_rows, BATCH, batch)
    model = adapted()
    trainer_of(model, options={"balance": BALANCE}, gradient_accumulation_steps=accumulated).train()
    assert difference(parameters(model), ours) <= 1e-6
    assert difference(start, ours) > 0.05


def test_balance_loss_is_weighted_and_of_the_whole_step(adapted, trainer_of, token_rows, labelled, pad_right):
    model = adapted(scale=0.5)
    trainer = trainer_of(model, options={"balance": BALANCE}, gradient_accumulation_steps=2)
    halves = [pad_right(labelled[:3]), pad_right(labelled[3:8])]
    model.train()
    batches, count = trainer.get_batch_samples(iter(halves), 2, torch.device("cpu"))
    total = sum(float(trainer.compute_loss(model, half, num_items_in_batch=count).detach()) for half in batches)

    rows = [token_rows.rows[index] for index in range(8)]
    batch = collate(rows, 0, torch.device("cpu"))
    context = routing_context(model)
    assert context is not None
    with torch.no_grad(), context.prompt(batch.prompt_mask), context.record() as record:
        logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.flatten(0, 1)
    nll = torch.nn.functional.cross_entropy(logits[batch.positions], batch.targets)
    balance = record.balance_loss()
    assert balance is not None
    assert total == pytest.approx(float(nll + BALANCE * balance), abs=1e-5)
    assert float(balance) > 1.01


def test_label_smoothing_keeps_the_prompt(adapted, trainer_of, labelled, pad_right):
    model = adapted(scale=0.5)
    trainer = trainer_of(model, options={"balance": 1.0}, label_smoothing_factor=0.1)
    without = trainer_of(model, options={"balance": 0.0})
    inputs = pad_right(labelled[:6])
    model.train()
    smoothed = trainer.compute_loss(model, dict(inputs), num_items_in_batch=torch.tensor(10))
    trainer.balance = 0.0
    bare = trainer.compute_loss(model, dict(inputs), num_items_in_batch=torch.tensor(10))
    context = routing_context(model)
    assert context is not None
    with context.record() as record:
        without.compute_loss(model, dict(inputs), num_items_in_batch=torch.tensor(10))
    balance = record.balance_loss()
    assert balance is not None
    assert float((smoothed - bare).detach()) == pytest.approx(float(balance.detach()), abs=1e-5)


def test_label_smoothing_keeps_the_prompt_of_soft_tokens(
    tiny_model, planned, randomize, trainer_of, labelled, pad_right
):
    base = tiny_model("llama")
    plan = planned(base, "MILORA_IAPT", only=["attention"], tokens=2, bottleneck=4)
    model = attach_adapter(base, plan, "default")
    randomize(model, "default")
    inputs = pad_right(labelled[:6])
    made = []
    for factor in (0.0, 0.1):
        trainer = trainer_of(model.train(), label_smoothing_factor=factor)
        trainer.compute_loss(model, dict(inputs), num_items_in_batch=torch.tensor(10))
        block: Any = model.get_submodule("base_model.model.model.layers.1.self_attn.block_adapter")
        made.append(block.soft_tokens("default").detach().clone())
    assert torch.equal(made[0], made[1])


def test_evaluation_has_no_balance_loss(adapted, trainer_of):
    model = adapted()
    plain = trainer_of(model, kind=Trainer).evaluate()["eval_loss"]
    assert trainer_of(model, options={"balance": 5.0}).evaluate()["eval_loss"] == pytest.approx(plain, abs=1e-6)


def test_a_step_without_answers_is_finite(adapted, trainer_of, pad_right):
    model = adapted().train()
    trainer = trainer_of(model)
    inputs = pad_right([{"input_ids": [5, 6, 7], "labels": [-100] * 3}])
    loss = trainer.compute_loss(model, inputs, num_items_in_batch=torch.tensor(0))
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", ["default", "tuned"])
@pytest.mark.parametrize("train_activation", [False, True])
def test_resume_is_a_straight_run(adapted, trainer_of, tmp_path, name, train_activation):
    options = {"train_activation": train_activation}
    straight = adapted(name, dropout=0.2)
    saving = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3}
    trainer_of(straight, options=options, **saving).train()
    checkpoint = tmp_path / "run" / "checkpoint-3"
    resumed = adapted(name, scale=0.9, dropout=0.2)
    trainer_of(resumed, options=options, **saving).train(resume_from_checkpoint=str(checkpoint))
    assert difference(parameters(resumed, name), parameters(straight, name)) == 0.0
    start, end = parameters(adapted(name), name), parameters(straight, name)
    theta = [key for key in end if "numerator" in key]
    assert theta
    assert all(torch.equal(start[key], end[key]) is not train_activation for key in theta)


def test_a_checkpoint_is_an_adapter(adapted, trainer_of, tiny_model, tmp_path):
    model = adapted()
    trainer_of(model, max_steps=2, save_strategy="steps", save_steps=2).train()
    loaded = milora.load(tiny_model("llama"), tmp_path / "run" / "checkpoint-2")
    assert difference(parameters(loaded), parameters(model)) == 0.0


def test_the_best_model_is_loaded_at_the_end(adapted, trainer_of, tiny_model, tmp_path):
    model = adapted()
    # A rate that is far too high at last: the best step is not the last one.
    trainer = trainer_of(
        model,
        max_steps=6,
        learning_rate=1.0,
        save_strategy="steps",
        save_steps=1,
        eval_strategy="steps",
        eval_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
    )
    trainer.train()
    losses = {entry["step"]: entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry}
    best = min(losses, key=lambda step: losses[step])
    assert best != 6
    assert Path(str(trainer.state.best_model_checkpoint)).name == f"checkpoint-{best}"
    loaded = milora.load(tiny_model("llama"), tmp_path / "run" / f"checkpoint-{best}")
    assert difference(parameters(loaded), parameters(model)) == 0.0
    assert trainer.evaluate()["eval_loss"] == pytest.approx(losses[best], abs=1e-6)


def test_plain_trainer_trains_it(adapted, trainer_of):
    model = adapted()
    before = parameters(model)
    trainer_of(model, kind=Trainer, max_steps=2).train()
    assert difference(before, parameters(model)) > 1e-3


def test_fixed_policy_has_no_balance_loss(adapted, trainer_of):
    model = adapted(policy="all")
    trainer_of(model, options={"balance": 1.0}, max_steps=1).train()
    other = adapted(policy="all")
    trainer_of(other, kind=Trainer, max_steps=1).train()
    assert difference(parameters(model), parameters(other)) == 0.0


def test_refusals(adapted, trainer_of, tiny_model):
    with pytest.raises(MiloraError, match="no adapter"):
        trainer_of(tiny_model("llama"))
    model = adapted()
    trainer = trainer_of(model, options={"balance": 0.1})
    whole = {"input_ids": torch.tensor([[5, 6]]), "labels": torch.tensor([[5, 6]])}
    model.train()
    with pytest.raises(MiloraError, match="no token as its prompt"):
        trainer.compute_loss(model, whole, num_items_in_batch=torch.tensor(1))
