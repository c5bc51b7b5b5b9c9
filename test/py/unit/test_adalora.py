"""AdaLoRA beside PEFT's own arithmetic: saved, loaded, parked, started from, and a step that is not finite."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import milora
from milora.checkpoint import attach_adapter, read_adapter, save_adapter
from milora.data import Dataset
from milora.engine import AdapterHost, warm_start_tensors
from milora.errors import MiloraError
from milora.training import TrainingSession, TrainingSettings

STEPS, BUDGET_AT = 12, 8
SCHEDULE = {"tinit": 2, "tfinal": STEPS - BUDGET_AT, "deltaT": 3, "total_step": STEPS}
NUM_MODULES, TARGET = 7 * 3, 2
IDS = torch.arange(2, 14)[None]
Build = Callable[..., Any]

_SCRIPT = """
import json, sys, torch
torch.set_num_threads(1)
import milora
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

base, folders, output = json.loads(sys.argv[1])
load = lambda: AutoModelForCausalLM.from_pretrained(base)
results = {}
for step, folder in folders.items():
    doors = {"milora": milora.load(load(), folder), "peft": PeftModel.from_pretrained(load(), folder)}
    for door, model in doors.items():
        with torch.no_grad():
            results[f"{step}/{door}"] = model.eval()(input_ids=torch.arange(2, 14)[None]).logits.contiguous()
save_file(results, output)
"""


@pytest.fixture
def dataset(random_dataset: Build) -> Dataset:
    return random_dataset([(6, 3), (4, 2), (9, 4), (5, 3)])


@pytest.fixture
def config(tiny_model: Build, adalora_plan: Build) -> dict[str, Any]:
    return adalora_plan(tiny_model("llama"), target_r=TARGET, **SCHEDULE)


def session_on(model: Any, name: str = "default") -> TrainingSession:
    return TrainingSession(model, name, TrainingSettings(), pad_id=0)


def train(session: TrainingSession, dataset: Dataset, first: int = 1, last: int = STEPS) -> None:
    for step in range(first, last + 1):
        session.step(dataset, range(4), 1e-2, "weights", budget_step=step)


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def saved_values(folder: Path) -> int:
    return sum(tensor.shape[0] for name, tensor in read_adapter(folder)[1].items() if "lora_E" in name)


def finished(base: Any, config: dict[str, Any], dataset: Dataset, folder: Path) -> Tensor:
    """Trains to the end and saves; gives the model's logits."""
    session = session_on(attach_adapter(base, config, "default", seed=5))
    train(session, dataset)
    save_adapter(session.model, "default", folder)  # pyright: ignore[reportArgumentType] - a PeftModel
    return logits(session.model)


def test_saved_at_any_step_it_loads_in_a_fresh_process_as_it_was(
    tiny_model: Build, config: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    tiny_model("llama").save_pretrained(tmp_path / "base")
    model = attach_adapter(tiny_model("llama"), config, "default", seed=5)
    session = session_on(model)
    expected: dict[str, Tensor] = {}
    # Before any pruning, after one, between two, at the budget, at the end.
    for first, last in ((1, 2), (3, 3), (4, 5), (6, BUDGET_AT), (BUDGET_AT + 1, STEPS)):
        train(session, dataset, first, last)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            save_adapter(model, "default", tmp_path / str(last))
        expected[str(last)] = logits(model)
    assert [saved_values(tmp_path / step) for step in expected] == [84, 84, 84, 42, 42]
    plan = [str(tmp_path / "base"), {step: str(tmp_path / step) for step in expected}, str(tmp_path / "results")]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, json.dumps(plan)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = load_file(tmp_path / "results")
    for step, value in expected.items():
        for door in ("milora", "peft"):
            # Left out is what is exactly zero; sums of fewer terms may round otherwise.
            bound = 0 if int(step) < BUDGET_AT else 1e-5
            assert torch.allclose(results[f"{step}/{door}"], value, rtol=0, atol=bound), (step, door)


def test_a_module_that_lost_all_its_values_loads_without_a_false_alarm(
    tiny_model: Build, config: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    model = attach_adapter(tiny_model("llama"), config, "default", seed=5)
    session = session_on(model)
    train(session, dataset)
    adapter: Any = model.peft_config["default"]
    pattern = adapter.rank_pattern
    first = next(name for name in pattern if "q_proj" in name)
    pattern[first] = [False] * len(pattern[first])
    model.get_base_model().get_parameter(first).data.zero_()
    state = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        save_adapter(model, "default", tmp_path / "adapter")
        again = milora.load(tiny_model("llama"), tmp_path / "adapter")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.allclose(logits(again), logits(model), rtol=0, atol=1e-5)


def test_a_step_that_is_not_finite_does_not_end_the_pruning(
    tiny_model: Build, config: dict[str, Any], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_on(attach_adapter(tiny_model("llama"), config, "default", seed=5))
    train(session, dataset, 1, 3)
    with monkeypatch.context() as patch:
        patch.setattr(
            "milora.training.step_loss.answer_nll",
            lambda model, batch: model(batch.input_ids).logits.sum() * float("nan"),
        )
        train(session, dataset, 4, 4)
    assert session.figures()[-1].gradient_norm is None
    train(session, dataset, 5, STEPS)
    values = torch.cat([p.flatten() for name, p in session.model.named_parameters() if "lora_E" in name])
    assert int((values != 0).sum()) == TARGET * NUM_MODULES


def test_adapters_of_a_host_take_turns_and_come_back_pruned(
    tiny_model: Build, config: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    expected = finished(tiny_model("llama"), config, dataset, tmp_path / "adapter")
    host = AdapterHost(tiny_model("llama"))
    host.load("finished", tmp_path / "adapter")
    session = session_on(host.attach("trained", config, seed=5), "trained")
    host.hold("trained")
    with pytest.raises(MiloraError, match="PEFT trains alone"), host.use("finished"):
        pass
    train(session, dataset)
    host.hold(None)
    for name in ("finished", "trained", "finished"):
        with host.use(name) as active:
            assert torch.allclose(logits(active.model), expected, rtol=0, atol=1e-5), name


def test_an_adapter_that_made_room_can_still_be_trained(
    tiny_model: Build, config: dict[str, Any], lora_plan: Build, dataset: Dataset
) -> None:
    base = tiny_model("llama")
    host = AdapterHost(base)
    host.attach("trained", config, seed=5)
    host.attach("other", lora_plan(base), seed=5)
    with host.use("trained") as active:
        session = session_on(active.model, "trained")
        train(session, dataset)
    values = torch.cat([p.flatten() for name, p in session.model.named_parameters() if "lora_E" in name])
    assert int((values != 0).sum()) == TARGET * NUM_MODULES


def test_a_warm_start_takes_a_pruned_adapter_and_lets_what_was_left_out_grow(
    tiny_model: Build, config: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    expected = finished(tiny_model("llama"), config, dataset, tmp_path / "adapter")
    longer = {**config, "total_step": 40, "tfinal": 10, "target_r": 3, "orth_reg_weight": 0.1}
    tensors = warm_start_tensors(tmp_path / "adapter", longer)
    model = attach_adapter(tiny_model("llama"), longer, "default", tensors, trainable=True)
    assert torch.allclose(logits(model), expected, rtol=0, atol=1e-5)
    session = session_on(model)
    train(session, dataset, 1, 1)
    values = torch.cat([p.flatten() for name, p in model.named_parameters() if "lora_E" in name])
    assert int((values != 0).sum()) == len(values) == 4 * NUM_MODULES
    with pytest.raises(MiloraError, match="init_r: found 4, planned 6"):
        warm_start_tensors(tmp_path / "adapter", {**longer, "init_r": 6})


def test_what_peft_cannot_train_is_refused(
    tiny_model: Build, config: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    model = attach_adapter(tiny_model("llama"), config, "first")
    with pytest.raises(MiloraError, match="carries 'first'; PEFT trains an AdaLoRA adapter only in a model without"):
        attach_adapter(model, config, "second")
    assert list(model.peft_config) == ["first"]
    finished(tiny_model("llama"), config, dataset, tmp_path / "adapter")
    loaded = session_on(milora.load(tiny_model("llama"), tmp_path / "adapter", "loaded"), "loaded")
    with pytest.raises(MiloraError, match=r"'loaded' cannot be trained as it is here.*train\.warmStart"):
        train(loaded, dataset, 1, 1)
