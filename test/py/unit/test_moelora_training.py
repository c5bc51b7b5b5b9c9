"""MOELoRA in training: its balance loss counts tokens, whatever the micro-batch and the padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from milora.checkpoint import attach_adapter
from milora.data import Dataset
from milora.errors import MiloraError
from milora.routing.context import routing_context
from milora.training import TrainingSession, TrainingSettings, data_loss
from milora.training.optimizer import GroupOptimizer
from milora.tuners import count_parameters

LENGTHS = [(9, 3), (4, 2), (12, 4), (5, 6)]
SETTINGS = {"r": 8, "lora_alpha": 8.0, "experts": 4, "top_k": 2}


@pytest.fixture
def start(
    tiny_model: Callable[..., Any], planned: Callable[..., Any], randomize: Callable[..., None]
) -> Callable[..., TrainingSession]:
    def make(micro_batch: int, balance: float = 0.5, reentrant: bool | None = None) -> TrainingSession:
        base = tiny_model("llama").double()
        if reentrant is not None:
            base.gradient_checkpointing_enable({"use_reentrant": reentrant})
        config = planned(base, "MILORA_MOELORA", only=["q", "down"], **SETTINGS)
        model = attach_adapter(base, config, "default")
        randomize(model, "default")
        settings = TrainingSettings(micro_batch=micro_batch, balance=balance, max_gradient_norm=None)
        return TrainingSession(model, "default", settings, pad_id=0)

    return make


def gradients(session: TrainingSession, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}

    def capture(group: GroupOptimizer, learning_rate: float, after_update: object = None) -> Tensor:
        seen.update({name: p.grad.clone() for name, p in group.parameters.items() if p.grad is not None})
        return torch.zeros(())

    with monkeypatch.context() as patch:
        patch.setattr(GroupOptimizer, "step", capture)
        session.step(dataset, range(len(LENGTHS)), 1e-3, "weights")
    return seen


def test_a_step_does_not_depend_on_the_micro_batch(
    start: Callable[..., TrainingSession], random_dataset: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = random_dataset(LENGTHS)
    whole, parts = start(4), start(1)
    expected, actual = (gradients(session, dataset, monkeypatch) for session in (whole, parts))
    assert set(expected) == set(actual)
    for name, gradient in expected.items():
        assert torch.allclose(actual[name], gradient, rtol=0, atol=1e-12), name
    one, other = whole.figures()[0], parts.figures()[0]
    assert one.balance == pytest.approx(other.balance, rel=1e-6)
    assert one.balance is not None
    assert one.balance >= 1


def test_the_balance_loss_is_that_of_the_real_tokens(
    start: Callable[..., TrainingSession], random_dataset: Callable[..., Dataset]
) -> None:
    session, dataset = start(4), random_dataset(LENGTHS)
    session.step(dataset, range(len(LENGTHS)), 0.0, "weights")
    counts: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}
    model: Any = session.model
    base = model.get_base_model()
    layers = {name: module for name, module in base.named_modules() if hasattr(module, "milora_moelora_router")}

    def look(name: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: Any) -> None:
            p = torch.softmax(args[0][0] @ module.milora_moelora_router["default"].T, dim=-1)
            counts[name] = counts.get(name, 0) + torch.bincount(p.argmax(dim=-1), minlength=4)
            sums[name] = sums.get(name, 0) + p.sum(dim=0)

        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in layers.items()]
    with torch.no_grad():
        for row in dataset.take(range(len(LENGTHS))):
            base(input_ids=torch.tensor([[*row.prompt_ids, *row.answer_ids]]), use_cache=False)
    for handle in handles:
        handle.remove()
    tokens = sum(prompt + answer for prompt, answer in LENGTHS)
    losses = [4 * float((counts[name] / tokens * sums[name] / tokens).sum()) for name in layers]
    assert session.figures()[0].balance == pytest.approx(sum(losses) / len(losses), rel=1e-6)


def test_the_balance_loss_pulls_on_the_routers(
    start: Callable[..., TrainingSession], random_dataset: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = random_dataset(LENGTHS)
    with_it = gradients(start(4, balance=0.5), dataset, monkeypatch)
    without = gradients(start(4, balance=0.0), dataset, monkeypatch)
    # The last layer's pull goes to its own router; earlier layers' experts feel it through the states.
    routers = [name for name in with_it if "router" in name]
    assert routers
    assert all(not torch.allclose(with_it[name], without[name]) for name in routers)


@pytest.mark.parametrize("micro_batch", [4, 2])
def test_gradient_checkpointing_gives_the_same_gradients(
    start: Callable[..., TrainingSession],
    random_dataset: Callable[..., Dataset],
    monkeypatch: pytest.MonkeyPatch,
    micro_batch: int,
) -> None:
    """The balance loss's among them."""
    dataset = random_dataset(LENGTHS)
    plain, checkpointed = start(micro_batch), start(micro_batch, reentrant=False)
    expected, actual = (gradients(session, dataset, monkeypatch) for session in (plain, checkpointed))
    assert set(expected) == set(actual)
    assert [name for name in expected if not torch.equal(expected[name], actual[name])] == []
    assert plain.figures() == checkpointed.figures()


def test_reentrant_checkpointing_would_lose_the_balance_losss_gradient(
    start: Callable[..., TrainingSession], random_dataset: Callable[..., Dataset]
) -> None:
    with pytest.raises(MiloraError, match="use_reentrant") as caught:
        start(4, reentrant=True).step(random_dataset(LENGTHS), range(len(LENGTHS)), 1e-3, "weights")
    assert caught.value.code == "adapter/unsupported"


def test_a_dev_loss_needs_no_routing(
    start: Callable[..., TrainingSession], random_dataset: Callable[..., Dataset]
) -> None:
    session, dataset = start(4), random_dataset(LENGTHS)

    def loss(micro_batch: int, context: Any) -> Any:
        settings = {"records": False, "micro_batch": micro_batch, "pad_id": 0, "on_step": lambda done, of: None}
        return data_loss(session.model, dataset, range(len(LENGTHS)), context=context, **settings)

    whole = loss(4, routing_context(session.model))
    assert whole.routing is None
    assert whole.answer_tokens == sum(answer for _, answer in LENGTHS)
    assert loss(1, None).nll == pytest.approx(whole.nll, rel=1e-9)
    session.step(dataset, range(len(LENGTHS)), 0.0, "weights")
    assert session.figures()[0].loss == pytest.approx(whole.nll / whole.answer_tokens, rel=1e-6)


class HostReads(TorchDispatchMode):
    """Notes the operations that wait for the device: they read a value, or make a shape of values."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if by_mask or name in ("_local_scalar_dense", "nonzero", "masked_select", "equal"):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def test_routing_reads_nothing_from_the_device(start: Callable[..., TrainingSession]) -> None:
    model: Any = start(4).model.train()
    context = routing_context(model)
    assert context is not None
    decoder = model.get_base_model().model
    ids = torch.randint(2, 96, (3, 9), generator=torch.Generator().manual_seed(2))
    mask = torch.arange(9) < torch.tensor([[9], [4], [7]])
    with HostReads() as by_the_base_model, model.disable_adapter():
        decoder(input_ids=ids, attention_mask=mask.long(), use_cache=False)
    with HostReads() as reads, context.prompt(mask), context.record() as record:
        hidden = decoder(input_ids=ids, attention_mask=mask.long(), use_cache=False).last_hidden_state
        # f is given: counting first choices reads their range, though on a CPU alone.
        balance = record.balance_loss(torch.full((6, 4), 0.25), 20)
        assert balance is not None
        (hidden.sum() + balance).backward()
    assert reads.found == by_the_base_model.found
    with HostReads() as blind:
        hidden.detach()[mask].sum().item()
    assert blind.found == ["index", "_local_scalar_dense"]


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_routers_are_counted_by_their_modules_inputs(
    tiny_model: Callable[..., Any], planned: Callable[..., Any], family: str
) -> None:
    base = tiny_model(family)
    config = planned(base, "MILORA_MOELORA", only=["q", "qkv", "down"], **SETTINGS)
    sizes = [(place["in_features"], place["out_features"]) for layer in config["layers"] for place in layer["modules"]]
    routers = sum(4 * inputs for inputs, _ in sizes)
    experts = sum(8 * (inputs + outputs) for inputs, outputs in sizes)
    counts = count_parameters(attach_adapter(base, config, "default"), "default")
    assert counts == {"trainable": experts + routers, "router": routers, "activation": 0}
