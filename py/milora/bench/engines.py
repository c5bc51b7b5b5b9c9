"""The two ways to train that are compared: our session, and transformers' Trainer over PEFT."""

from __future__ import annotations

import copy
import tempfile
import time
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from peft import get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from milora.checkpoint import attach_adapter
from milora.data import Dataset
from milora.training import TrainingSession, TrainingSettings
from milora.tuners import build_config

_ADAPTER = "default"
_IGNORED = -100


@dataclass(frozen=True)
class Setting:
    """What both do alike: AdamW (fused) at one learning rate over all rows at once, gradients clipped at norm 1."""

    learning_rate: float = 1e-4
    balance: float = 0.0
    scheduled: bool = False
    compiled: bool = False
    seed: int = 0


class Engine(Protocol):
    """Trains one adapter on the same rows, a step at a time."""

    def step(self) -> float:
        """One step; gives the seconds that it took."""
        ...

    def losses(self, steps: int) -> list[float]:
        """The losses of so many more steps, mean of an answer token in nats."""
        ...


class SessionEngine:
    """Our training session."""

    def __init__(self, base: PreTrainedModel, config: dict[str, Any], rows: Dataset, setting: Setting) -> None:
        model = attach_adapter(base, config, _ADAPTER, seed=setting.seed)
        settings = TrainingSettings(
            micro_batch=len(rows.rows), balance=setting.balance, compile=setting.compiled, seed=setting.seed
        )
        self._session = TrainingSession(model, _ADAPTER, settings, pad_id=0)
        self._rows, self._setting, self._device = rows, setting, base.device
        self._steps = 0

    def step(self) -> float:
        """One step with all that belongs to it, from token ids on."""
        self._steps += 1
        budget_step = self._steps if self._setting.scheduled else None
        rows = range(len(self._rows.rows))
        start = time.perf_counter()
        self._session.step(self._rows, rows, self._setting.learning_rate, "weights", budget_step=budget_step)
        finish(self._device)
        return time.perf_counter() - start

    def losses(self, steps: int) -> list[float]:
        """The losses of so many more steps."""
        self._session.figures()
        for _ in range(steps):
            self.step()
        return [float("nan") if figures.loss is None else figures.loss for figures in self._session.figures()]


class TrainerEngine:
    """transformers' Trainer on a PeftModel: rows padded at the right, labels -100 at prompt and padding.

    The time is the Trainer's own step (loss, gradients, clipping, update), without its data loader.
    """

    def __init__(self, base: PreTrainedModel, config: dict[str, Any], rows: Dataset, setting: Setting) -> None:
        torch.manual_seed(setting.seed)
        fields = build_config({**config, "inference_mode": False})
        # PEFT opens this as a path to tell whether the vocabulary grew.
        fields.base_model_name_or_path = None
        self._rows, self._setting, self._device = rows, setting, base.device
        self._model: Any = get_peft_model(base, fields)
        self._watch = _StepWatch(base.device)
        self._folder = tempfile.TemporaryDirectory(prefix="milora-bench-")
        self._trainer = _RecordingTrainer(
            model=self._model,
            args=self._arguments(),
            train_dataset=[_features(row.prompt_ids, row.answer_ids) for row in rows.rows],
            data_collator=_padded,
            callbacks=[self._watch],
        )

    def step(self) -> float:
        """One step of the Trainer's own loop; moments and adapter go on from the last."""
        self._trainer.train()
        return self._watch.seconds

    def losses(self, steps: int) -> list[float]:
        """The losses of so many more steps."""
        self._trainer.step_losses.clear()
        for _ in range(steps):
            self.step()
        return [float(loss) for loss in self._trainer.step_losses]

    def _arguments(self) -> TrainingArguments:
        return TrainingArguments(
            output_dir=self._folder.name,
            per_device_train_batch_size=len(self._rows.rows),
            max_steps=1,
            learning_rate=self._setting.learning_rate,
            lr_scheduler_type="constant",
            max_grad_norm=1.0,
            optim="adamw_torch_fused",
            seed=self._setting.seed,
            use_cpu=self._device.type == "cpu",
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        )


class _RecordingTrainer(Trainer):
    """The Trainer as it is; each step's loss is kept."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.step_losses: list[Tensor] = []

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        loss = super().training_step(*args, **kwargs)
        self.step_losses.append(loss)
        return loss


class _StepWatch(TrainerCallback):
    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start = 0.0
        self.seconds = 0.0

    def on_step_begin(self, *_args: Any, **_kwargs: Any) -> None:
        self._start = time.perf_counter()

    def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
        finish(self._device)
        self.seconds = time.perf_counter() - self._start


def finish(device: torch.device) -> None:
    """Waits until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _features(prompt: tuple[int, ...], answer: tuple[int, ...]) -> dict[str, list[int]]:
    return {"input_ids": [*prompt, *answer], "labels": [_IGNORED] * len(prompt) + list(answer)}


def _padded(features: list[dict[str, list[int]]]) -> dict[str, Tensor]:
    width = max(len(row["input_ids"]) for row in features)

    def filled(key: str, value: int) -> Tensor:
        return torch.tensor([row[key] + [value] * (width - len(row[key])) for row in features])

    lengths = torch.tensor([[len(row["input_ids"])] for row in features])
    mask = (torch.arange(width) < lengths).long()
    return {"input_ids": filled("input_ids", 0), "labels": filled("labels", _IGNORED), "attention_mask": mask}


def twin(base: PreTrainedModel, attention: str) -> PreTrainedModel:
    """A model of its own over the same weights, to put another adapter into."""
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*base.parameters(), *base.buffers())}
    other = copy.deepcopy(base, shared)
    other.set_attn_implementation(attention)
    return other


def usual_attention(base: PreTrainedModel) -> str:
    """The attention that transformers picks for this model where nobody asks for one."""
    config = copy.deepcopy(base.config)
    config._attn_implementation = None
    with torch.device("meta"):
        picked: nn.Module = AutoModelForCausalLM.from_config(config)
    assert isinstance(picked, PreTrainedModel)
    return str(picked.config._attn_implementation)
