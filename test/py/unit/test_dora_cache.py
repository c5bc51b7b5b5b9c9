"""DoRA in the engine: norms are computed once a call, and never those of other weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora.dora import DoraLinearLayer

from milora.data import Prompt, TextEncoder
from milora.engine import AdapterHost, GenerationRequest, GenerationSettings, ScoringRow, generate, score_choices
from milora.engine.dora import cached_dora
from milora.models import choose_placement, open_model, resolve_source
from milora.training import TrainingSession, TrainingSettings, load_training, save_training

PROMPTS = ["Hi", "What is this?", "b c d e f " * 4]
Build = Callable[..., Any]


class World:
    """A host with one DoRA adapter that was moved, and its training."""

    def __init__(self, checkpoint: Path, lora_plan: Build, randomize: Build) -> None:
        placement = choose_placement("cpu", "float32", "auto")
        opened = open_model(resolve_source(str(checkpoint)), placement, 0, lambda done, of: None)
        self.encoder = TextEncoder(opened.tokenizer)
        self.host = AdapterHost(opened.model)
        self.model = self.host.attach("mine", lora_plan(opened.model, use_dora=True), seed=1)
        randomize(self.model, "mine", seed=1)
        self.session = TrainingSession(self.model, "mine", TrainingSettings(), pad_id=0)

    def scores(self) -> list[float]:
        rows = [ScoringRow(Prompt(prompt), (" yes", " no")) for prompt in PROMPTS]
        with self.host.use("mine") as active:
            found = score_choices(
                active, self.encoder, rows, micro_batch=2, max_length=256, on_step=lambda done, of: None
            )
        return [choice.log_likelihood for row in found for choice in row]

    def texts(self) -> list[str]:
        requests = [GenerationRequest(Prompt(prompt), "mine") for prompt in PROMPTS]
        settings = GenerationSettings(12, 1, False)
        made = generate(self.host, self.encoder, requests, settings, max_length=256, on_step=lambda done, of: None)
        return [text.text for text in made]

    @property
    def layers(self) -> Sequence[DoraLinearLayer]:
        return [module for module in self.model.modules() if isinstance(module, DoraLinearLayer)]


@pytest.fixture
def world(checkpoint: Path, lora_plan: Build, randomize: Build) -> World:
    return World(checkpoint, lora_plan, randomize)


@pytest.fixture
def norms(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Norms of whole weight matrices that were computed, one entry each."""
    computed: list[int] = []
    norm = torch.linalg.norm

    def counting(weight: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        computed.append(weight.shape[0])
        return norm(weight, *arguments, **options)

    monkeypatch.setattr(torch.linalg, "norm", counting)
    return computed


def test_norms_are_computed_once_a_call_and_not_kept(world: World, norms: list[int]) -> None:
    modules = len(world.layers)
    world.texts()
    assert len(norms) == modules
    norms.clear()
    # Three batches of two.
    world.scores()
    assert len(norms) == modules
    assert all(not layer._dora_cache for layer in world.layers)  # pyright: ignore[reportPrivateUsage]


def test_an_error_leaves_no_norms_either(world: World) -> None:
    with pytest.raises(KeyError), cached_dora(world.model):
        world.model(input_ids=torch.arange(3, 9)[None])
        raise KeyError
    assert all(not layer._dora_cache for layer in world.layers)  # pyright: ignore[reportPrivateUsage]


def test_changed_weights_are_never_met_with_old_norms(
    world: World, random_dataset: Build, tmp_path: Path, checkpoint: Path, lora_plan: Build, randomize: Build
) -> None:
    save_training(world.session, tmp_path / "state")
    first = (world.scores(), world.texts())
    dataset = random_dataset([(6, 3), (4, 2)], vocabulary=200)
    world.session.step(dataset, range(2), 1e-1, "weights")
    moved = (world.scores(), world.texts())
    assert moved != first, "the step changes nothing: the test is blind"
    # Loading a state changes the weights without any pass in training mode.
    load_training(world.session, tmp_path / "state")
    assert (world.scores(), world.texts()) == first
    again = World(checkpoint, lora_plan, randomize)
    again.session.step(dataset, range(2), 1e-1, "weights")
    assert (again.scores(), again.texts()) == moved
