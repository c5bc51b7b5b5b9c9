"""The fused decoder against transformers' forward pass, family by family."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from milora.engine.fused import FusedDecoder
from milora.errors import MiloraError

_TOLERANCE = 1e-5
_VOCABULARY = 96


def _ids(lengths: Sequence[int], seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(2, _VOCABULARY, (length,), generator=generator).tolist() for length in lengths]


@torch.no_grad()
def _logits(model: PreTrainedModel, ids: Sequence[int]) -> Tensor:
    output: Tensor = model(input_ids=torch.tensor([list(ids)])).logits
    return output[0]


def test_prefill_and_decode_match_transformers(family: str, decoder_model: Callable[..., PreTrainedModel]) -> None:
    model = decoder_model(family)
    texts = _ids([14, 3, 9])
    expected = [_logits(model, text) for text in texts]
    decoder = FusedDecoder(model)
    prompts = [text[: len(text) // 2] for text in texts]
    cache = decoder.new_cache()
    cache.fit(3, 14, 0)
    logits = decoder.prefill(prompts, cache, 0, None)
    for row, prompt in enumerate(prompts):
        torch.testing.assert_close(logits[row], expected[row][len(prompt) - 1], atol=_TOLERANCE, rtol=_TOLERANCE)
    rest = [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]
    for step in range(min(map(len, rest))):
        positions = [len(prompt) + step for prompt in prompts]
        logits = decoder.decode([ids[step] for ids in rest], positions, cache, None)
        for row, position in enumerate(positions):
            torch.testing.assert_close(logits[row], expected[row][position], atol=_TOLERANCE, rtol=_TOLERANCE)


def test_one_row_decodes_far_behind_its_windows(family: str, decoder_model: Callable[..., PreTrainedModel]) -> None:
    model = decoder_model(family)
    (text,) = _ids([40])
    expected = _logits(model, text)
    decoder = FusedDecoder(model)
    cache = decoder.new_cache()
    cache.fit(1, len(text), 0)
    decoder.prefill([text[:12]], cache, 0, None)
    for position in range(12, len(text)):
        logits = decoder.decode([text[position]], [position], cache, None)
        torch.testing.assert_close(logits[0], expected[position], atol=_TOLERANCE, rtol=_TOLERANCE)


def test_weights_are_held_once(family: str, decoder_model: Callable[..., PreTrainedModel]) -> None:
    model = decoder_model(family)
    names = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    before = _logits(model, [5, 6, 7])
    first, second = FusedDecoder(model), FusedDecoder(model)
    storages = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    for layer, again in zip(first.parts.layers, second.parts.layers, strict=True):
        for projection, same in zip(layer.projections, again.projections, strict=True):
            assert projection.weight.untyped_storage().data_ptr() in storages
            assert projection.weight.data_ptr() == same.weight.data_ptr()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), names[name], atol=0, rtol=0)
    torch.testing.assert_close(_logits(model, [5, 6, 7]), before)


def test_growth_keeps_the_rows_in_use(decoder_model: Callable[..., PreTrainedModel]) -> None:
    model = decoder_model("llama")
    first, second = _ids([200, 130])
    decoder = FusedDecoder(model)
    cache = decoder.new_cache()
    cache.fit(1, 100, 0)
    decoder.prefill([first[:100]], cache, 0, None)
    cache.fit(6, 200, 1)
    decoder.prefill([second[:129]], cache, 1, None)
    logits = decoder.decode([first[100], second[129]], [100, 129], cache, None)
    torch.testing.assert_close(logits[0], _logits(model, first)[100], atol=_TOLERANCE, rtol=_TOLERANCE)
    torch.testing.assert_close(logits[1], _logits(model, second)[129], atol=_TOLERANCE, rtol=_TOLERANCE)
    assert cache.num_growths == 2


def _hooked(model: PreTrainedModel) -> None:
    model.get_submodule("model.layers.1.mlp.up_proj").register_forward_hook(lambda *_: None)


def _replaced(model: PreTrainedModel) -> None:
    class Quantised(nn.Linear):
        pass

    model.get_submodule("model.layers.1.self_attn").q_proj = Quantised(32, 32)


@pytest.mark.parametrize("spoil", [_hooked, _replaced])
def test_what_it_would_leave_out_is_refused(
    spoil: Callable[[PreTrainedModel], None], decoder_model: Callable[..., PreTrainedModel]
) -> None:
    model = decoder_model("mistral")
    spoil(model)
    with pytest.raises(MiloraError, match=r"layers\.1") as caught:
        FusedDecoder(model)
    assert caught.value.code == "model/unsupported"


def test_unknown_decoders_are_refused() -> None:
    gpt = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=16, n_positions=16))
    dynamic = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            vocab_size=16,
            rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
        )
    )
    for model, found in ((gpt, "GPT2LMHeadModel"), (dynamic, "dynamic")):
        with pytest.raises(MiloraError) as caught:
            FusedDecoder(model)
        assert caught.value.code == "model/unsupported"
        assert caught.value.details["found"] == found
