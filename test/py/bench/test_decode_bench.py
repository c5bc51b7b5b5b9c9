"""The bench of decoding: which rows there are, what each is compared with, and that both engines write the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from milora.bench import DecodeBench, DecodeMethod, DecodeSizes, time_decoding, trained_method
from milora.bench import decode as bench_decode
from milora.bench.decode import DecodeContender
from milora.bench.generations import Turn
from milora.bench.made_up import another_like, made_up_adapter
from milora.checkpoint import attach_adapter
from milora.checkpoint.adapter import save_adapter
from milora.errors import MiloraError

SIZES = DecodeSizes(prompt_tokens=9, new_tokens=5, beams=(1, 2))


def quiet(_stage: str, _done: int, _total: int) -> None:
    return None


def keys(rows: list[Any]) -> list[tuple[str, int | None, int, str]]:
    found = [row.contender for row in rows]
    return [(one.method.name, one.method.top_k, one.beams, one.engine) for one in found]


@pytest.fixture
def moelora(planned: Callable[..., dict[str, Any]]) -> Callable[..., DecodeMethod]:
    def make(base: Any) -> DecodeMethod:
        return DecodeMethod(
            "moelora", None, planned(base, "MILORA_MOELORA", only=["q", "down"], r=8, experts=4, top_k=2)
        )

    return make


def test_every_row_stands_beside_the_base_of_its_engine_and_both_write_the_same(
    tiny_model: Any, lora_plan: Any, milora_plan: Any, moelora: Any
) -> None:
    base = tiny_model("llama").requires_grad_(False)
    dora = lora_plan(base, use_dora=True)
    methods = [
        DecodeMethod("dora", None, dora),
        DecodeMethod("dora-uncached", None, dora, caches_norms=False),
        moelora(base),
        DecodeMethod("milora", 2, milora_plan(base, top_k=2)),
        DecodeMethod("midora", 3, milora_plan(base, top_k=3, expert="dora")),
    ]
    told: set[str] = set()
    bench = DecodeBench(methods, SIZES, rounds=1, row_seconds=600.0, peer=True)
    rows, slow_because = time_decoding(base, bench, lambda stage, _done, _of: told.add(stage))
    of_one = [
        *((name, k, 1, engine) for name, k in (("base", None), ("dora", None)) for engine in ("milora", "hf")),
        ("dora-uncached", None, 1, "hf"),
        ("moelora", None, 1, "hf"),
        *((name, k, 1, engine) for name, k in (("milora", 2), ("midora", 3)) for engine in ("milora", "hf")),
    ]
    assert keys(rows) == [*of_one, *((name, k, 2, engine) for name, k, _, engine in of_one)]
    assert (slow_because, told) == (None, {"adapters", "tokens"})
    reasons = {row.contender.method.name: row.contender.hf_because for row in rows if row.contender.hf_because}
    assert set(reasons) == {"dora-uncached", "moelora"}
    assert "MILORA_MOELORA" in reasons["moelora"]
    assert {row.new_tokens for row in rows} == {5}
    for row in rows:
        known = row.contender.method.name not in ("dora-uncached", "moelora")
        assert row.same_tokens is (True if known else None)
        assert row.ratio_to_hf_base is not None
        assert (row.contender.engine == "milora") or row.ratio_to_hf_base == row.ratio_to_base


SECONDS = {("base", "milora"): [1.0, 10.0], ("base", "hf"): [2.0, 20.0], ("lora", "milora"): [2.0, 40.0]}
TOKENS = {("base", "hf"): ((1, 2, 4),)}


def test_ratios_are_of_one_round_and_a_mismatch_is_told(
    tiny_model: Any, lora_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clockwork:
        def __init__(self, key: tuple[str, str]) -> None:
            self._key, self._steps = key, iter([99.0, *SECONDS.get(key, [4.0, 50.0])])

        def run(self, _seconds: float, _on_token: Any) -> Turn:
            step = next(self._steps)
            return Turn(3 * step, (step,), TOKENS.get(self._key, ((1, 2, 3),)))

    def fake(_self: Any, contender: DecodeContender) -> Clockwork:
        return Clockwork((contender.method.name, contender.engine))

    monkeypatch.setattr(bench_decode.Decoders, "generator", fake)
    base = tiny_model("llama").requires_grad_(False)
    sizes = DecodeSizes(prompt_tokens=9, new_tokens=5, beams=(1,))
    bench = DecodeBench([DecodeMethod("lora", None, lora_plan(base))], sizes, rounds=2, row_seconds=9.0, peer=True)
    (ours, theirs, lora, peft), _ = time_decoding(base, bench, quiet)
    assert ours.tokens_per_second == pytest.approx(1 / 5.5)
    assert ours.prefill_seconds == pytest.approx(11.0)
    assert (ours.ratio_to_base, ours.ratio_to_hf_base) == (1.0, 2.0)
    assert lora.ratio_to_base == pytest.approx((1 / 2 + 10 / 40) / 2)
    assert lora.ratio_to_hf_base == pytest.approx((2 / 2 + 20 / 40) / 2)
    assert peft.ratio_to_base == pytest.approx((2 / 4 + 20 / 50) / 2)
    assert (ours.same_tokens, theirs.same_tokens, lora.same_tokens) == (False, False, True)


def test_without_a_peer_transformers_stands_only_where_the_engine_cannot(
    tiny_model: Any, lora_plan: Any, moelora: Any
) -> None:
    base = tiny_model("llama").requires_grad_(False)
    lora = DecodeMethod("lora", None, lora_plan(base))
    sizes = DecodeSizes(prompt_tokens=9, new_tokens=3, beams=(1,))
    rows, _ = time_decoding(base, DecodeBench([lora], sizes, 1, 60.0), quiet)
    assert keys(rows) == [("base", None, 1, "milora"), ("lora", None, 1, "milora")]
    assert [row.ratio_to_hf_base for row in rows] == [None, None]
    rows, _ = time_decoding(base, DecodeBench([moelora(base)], sizes, 1, 60.0), quiet)
    assert keys(rows) == [("base", None, 1, "milora"), ("base", None, 1, "hf"), ("moelora", None, 1, "hf")]


def test_a_text_that_does_not_fit_the_context_is_refused(tiny_model: Any) -> None:
    sizes = DecodeSizes(prompt_tokens=9, new_tokens=5, beams=(1,), context_length=12)
    with pytest.raises(MiloraError, match="context of 12"):
        time_decoding(tiny_model("llama").requires_grad_(False), DecodeBench([], sizes, 1, 60.0), quiet)


def test_made_up_adapters_do_real_work_and_another_one_decides_otherwise(tiny_model: Any, milora_plan: Any) -> None:
    base = tiny_model("llama").requires_grad_(False)
    adapter = made_up_adapter(base, milora_plan(base))
    assert all(bool(tensor.any()) for tensor in adapter.tensors.values())
    other = another_like(adapter, seed=1)
    for key, tensor in adapter.tensors.items():
        assert torch.equal(tensor.abs(), other.tensors[key].abs())
        assert torch.equal(tensor, other.tensors[key]) == (tensor.dim() < 2)
    assert not any(hasattr(layer, "prompt_router") for layer in base.modules())


@pytest.mark.parametrize(("kind", "name"), [("lora", "lora"), ("dora", "dora"), ("milora", "milora")])
def test_a_trained_adapter_is_a_row_by_its_own_method(
    tiny_model: Any, lora_plan: Any, milora_plan: Any, tmp_path: Path, kind: str, name: str
) -> None:
    base = tiny_model("llama").requires_grad_(False)
    plan = milora_plan(base, top_k=2) if kind == "milora" else lora_plan(base, use_dora=kind == "dora")
    save_adapter(attach_adapter(tiny_model("llama"), plan, "default"), "default", tmp_path / "adapter")
    method = trained_method(str(tmp_path / "adapter"))
    assert (method.name, method.top_k) == (name, 2 if kind == "milora" else None)
    sizes = DecodeSizes(prompt_tokens=9, new_tokens=3, beams=(1,))
    rows, _ = time_decoding(base, DecodeBench([method], sizes, 1, 60.0), quiet)
    assert keys(rows)[-1] == (name, method.top_k, 1, "milora")
