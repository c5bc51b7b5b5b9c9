"""The loss of answer tokens by chunks is the plain loss, with its gradients, in bounded memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import CohereConfig, CohereForCausalLM, GraniteConfig, GraniteForCausalLM, PreTrainedModel

from milora.data import Batch, Dataset, TokenRow, collate
from milora.models import answer_nll, answer_states
from milora.training import data_loss

ANSWERS = [1, 200, 2, 150, 3, 97, 1, 40, 5, 180, 8, 1, 64, 20, 120, 11]
ROWS = range(len(ANSWERS))
VOCABULARY = 96
# The heads of these do more than a product: soft-capping, a scale, a divisor.
FAMILIES = ["llama", "phi3", "gemma2", "cohere", "granite"]
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "initializer_range": 0.2,
}


@pytest.fixture
def model_of(tiny_model: Callable[..., PreTrainedModel]) -> Callable[[str], PreTrainedModel]:
    def build(family: str) -> PreTrainedModel:
        torch.manual_seed(2)
        if family == "cohere":
            return CohereForCausalLM(CohereConfig(**SIZES, logit_scale=0.3)).eval()
        if family == "granite":
            return GraniteForCausalLM(GraniteConfig(**SIZES, logits_scaling=3.0)).eval()
        model = tiny_model(family)
        if family == "gemma2":
            # In float64 transformers' softmax has no number for padding beyond the window.
            model.config.sliding_window = model.config.max_position_embeddings
        return model

    return build


@pytest.fixture
def dataset() -> Dataset:
    generator = torch.Generator().manual_seed(11)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, VOCABULARY, (count,), generator=generator).tolist())

    return Dataset(tuple(TokenRow(ids(3 + 7 * index % 23), ids(answer)) for index, answer in enumerate(ANSWERS)), "")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Chunks of so many answer tokens."""

    def set_tokens(tokens: int) -> None:
        monkeypatch.setattr("milora.models.answer_loss.LOGITS_AT_ONCE", tokens * VOCABULARY)

    return set_tokens


def trained(model: PreTrainedModel) -> list[Tensor]:
    """A weight near the input and one near the head; all else is frozen, as the head always is."""
    model.requires_grad_(False)
    layers: Any = model.get_decoder().layers
    first, last = layers[0], layers[-1]
    weights = [first.self_attn.o_proj.weight, last.mlp.down_proj.weight]
    return [weight.requires_grad_() for weight in weights]


def by_chunks(model: PreTrainedModel, batch: Batch) -> Tensor:
    return answer_nll(model, batch)


def in_one(model: PreTrainedModel, batch: Batch) -> Tensor:
    states, head = answer_states(model, batch)
    return functional.cross_entropy(head(states), batch.targets, reduction="sum")


def plain(model: PreTrainedModel, batch: Batch) -> Tensor:
    """transformers' logits of every token."""
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    return functional.cross_entropy(logits.flatten(0, 1)[batch.positions], batch.targets, reduction="sum")


def loss_and_gradients(
    model: PreTrainedModel, batch: Batch, nll: Callable[[PreTrainedModel, Batch], Tensor]
) -> tuple[float, Tensor]:
    weights = trained(model)
    loss = nll(model, batch) / batch.num_answer_tokens
    gradients = torch.autograd.grad(loss, weights)
    return float(loss.detach()), torch.cat([gradient.double().flatten() for gradient in gradients])


@pytest.mark.parametrize("family", FAMILIES)
def test_chunks_give_the_loss_and_the_gradients_of_all_at_once(
    model_of: Callable[[str], PreTrainedModel], dataset: Dataset, at_once: Callable[[int], None], family: str
) -> None:
    model = model_of(family)
    batch = collate(dataset.rows, 0, torch.device("cpu"))
    exact_loss, exact = loss_and_gradients(copy.deepcopy(model).double(), batch, plain)
    assert exact.abs().max() > 1e-3
    whole_loss, whole = loss_and_gradients(model, batch, in_one)
    bound = 2 * float((whole - exact).abs().max())
    assert bound < 1e-5 * float(exact.abs().max())
    for tokens in (1, 7, 64, sum(ANSWERS) - 1, sum(ANSWERS)):
        at_once(tokens)
        loss, found = loss_and_gradients(model, batch, by_chunks)
        assert loss == pytest.approx(whole_loss, rel=1e-6)
        assert loss == pytest.approx(exact_loss, rel=1e-6)
        assert float((found - exact).abs().max()) <= bound, tokens
        assert torch.allclose(found, whole, rtol=1e-5, atol=1e-6 * float(whole.abs().max())), tokens


def test_in_float64_chunks_and_plain_loss_agree_to_the_last_digits(
    model_of: Callable[[str], PreTrainedModel], dataset: Dataset, at_once: Callable[[int], None]
) -> None:
    model = model_of("gemma2").double()
    batch = collate(dataset.rows, 0, torch.device("cpu"))
    expected_loss, expected = loss_and_gradients(model, batch, plain)
    at_once(13)
    loss, found = loss_and_gradients(model, batch, by_chunks)
    assert loss == pytest.approx(expected_loss, rel=1e-13)
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-14)


def test_the_head_never_sees_more_than_a_chunk(
    model_of: Callable[[str], PreTrainedModel], dataset: Dataset, at_once: Callable[[int], None]
) -> None:
    model = model_of("llama")
    seen: list[int] = []
    head: Any = model.get_output_embeddings()
    head.register_forward_hook(lambda *call: seen.append(call[2].shape[:-1].numel()))
    batch = collate(dataset.rows, 0, torch.device("cpu"))
    at_once(50)
    loss_and_gradients(model, batch, by_chunks)
    assert max(seen) <= 50
    assert sum(seen) == sum(ANSWERS)
    seen.clear()
    whole = data_loss(
        model, dataset, ROWS, context=None, records=False, micro_batch=16, pad_id=0, on_step=lambda *_: None
    )
    assert max(seen) <= 50
    assert sum(seen) == whole.answer_tokens == sum(ANSWERS)


def test_without_gradients_there_is_no_graph(model_of: Callable[[str], PreTrainedModel], dataset: Dataset) -> None:
    model = model_of("llama").requires_grad_(False)
    batch = collate(dataset.rows, 0, torch.device("cpu"))
    assert not answer_nll(model, batch).requires_grad
    trained(model)
    with torch.no_grad():
        assert not answer_nll(model, batch).requires_grad
    assert answer_nll(model, batch).requires_grad


@pytest.mark.parametrize("tokens", [50, sum(ANSWERS)])
def test_hooks_see_one_forward_pass_whatever_the_chunks(
    model_of: Callable[[str], PreTrainedModel], dataset: Dataset, at_once: Callable[[int], None], tokens: int
) -> None:
    model = model_of("llama")
    decoder: Any = model.get_decoder()
    calls: list[str] = []
    for name, module in (("model", model), ("decoder", decoder)):
        module.register_forward_pre_hook(lambda *_, name=name: calls.append(f"before {name}"))
        module.register_forward_hook(lambda *_, name=name: calls.append(f"after {name}"))
    at_once(tokens)
    answer_nll(model, collate(dataset.rows, 0, torch.device("cpu")))
    assert calls == ["before model", "before decoder", "after decoder", "after model"]
    assert model.get_decoder() is decoder
