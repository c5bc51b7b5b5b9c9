"""The bench of tenants: which batches there are, what each is compared with, and the bytes that a step reads."""

from __future__ import annotations

from typing import Any

import pytest

from milora.bench import DecodeMethod, TenantBench, time_tenants
from milora.bench import tenants as bench_tenants
from milora.bench.made_up import Adapter, made_up_adapter
from milora.bench.step_bytes import StepBytes, adapter_bytes, base_bytes, key_value_bytes, whole_bytes
from milora.errors import MiloraError

SIZES: dict[str, Any] = {"prompt_tokens": 9, "new_tokens": 4, "rounds": 1, "row_seconds": 600.0}
# A module of rank 4 on 32 → 32, 32 → 48 or 48 → 32.
SQUARE, WIDE = 4 * (32 + 32), 4 * (32 + 48)


def quiet(_stage: str, _done: int, _total: int) -> None:
    return None


def test_each_batch_stands_beside_its_base_and_pefts_loras(tiny_model: Any, lora_plan: Any, milora_plan: Any) -> None:
    base = tiny_model("llama").requires_grad_(False)
    methods = [DecodeMethod("milora", 3, milora_plan(base, top_k=3)), DecodeMethod("lora", None, lora_plan(base))]
    bench = TenantBench(methods, lora_plan(base), (1, 3), (1, 2), **SIZES)
    figures = time_tenants(base, bench, quiet)
    assert (figures.skipped, figures.slow_because) == ([], None)
    batches = [(tenants, rows) for tenants in (1, 3) for rows in (1, 2)]
    each = [("milora", "milora"), ("lora", "milora"), ("lora", "peft")]
    assert [(row.batch.tenants, row.batch.rows_per_tenant, row.method.name, row.engine) for row in figures.rows] == [
        (*batch, *kind) for batch in batches for kind in each
    ]
    for row in figures.rows:
        # PEFT runs our engine's LoRAs; its own row is not compared with itself.
        is_twin = (row.method.name, row.engine) == ("lora", "milora")
        assert row.same_tokens is (True if is_twin else None)
        assert row.ratio_to_peft is not None
        assert row.new_tokens == 4
    reads = {(row.method.name, row.engine, row.batch.tenants): row.step_bytes.adapters for row in figures.rows}
    assert reads["lora", "peft", 3] == 3 * reads["lora", "milora", 1]
    # A tenant reads three to seven of seven modules a layer.
    assert 3 * 3 * SQUARE * 4 <= reads["milora", "milora", 1] <= reads["lora", "milora", 1]


def test_what_there_is_no_memory_for_is_skipped_with_a_reason(
    tiny_model: Any, lora_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_model("llama").requires_grad_(False)
    lora = DecodeMethod("lora", None, lora_plan(base))
    size = whole_bytes(made_up_adapter(base, lora_plan(base)), 4)
    bench = TenantBench([lora], lora_plan(base), (1, 2, 3), (1,), **SIZES)
    # The engine takes each adapter and its copy in a stack, PEFT one more.
    monkeypatch.setattr(bench_tenants, "free_bytes", lambda _device: int(5 * size / 0.8) + 1)
    figures = time_tenants(base, bench, quiet)
    assert [(row.batch.tenants, row.engine) for row in figures.rows] == [(1, "milora"), (1, "peft"), (2, "milora")]
    assert [(each.tenants, each.engine) for each in figures.skipped] == [(3, "milora"), (2, "peft"), (3, "peft")]
    assert "3 tenants may take" in figures.skipped[0].reason
    monkeypatch.setattr(bench_tenants, "free_bytes", lambda _device: size)
    with pytest.raises(MiloraError) as caught:
        time_tenants(base, bench, quiet)
    assert caught.value.code == "memory/exhausted"


def test_where_peft_refuses_our_engine_is_measured_alone(tiny_model: Any, lora_plan: Any) -> None:
    base = tiny_model("llama").requires_grad_(False)
    # PEFT has no mixed batches of DoRA.
    dora = lora_plan(base, use_dora=True)
    figures = time_tenants(base, TenantBench([DecodeMethod("dora", None, dora)], dora, (2,), (1,), **SIZES), quiet)
    assert [(row.engine, row.ratio_to_peft) for row in figures.rows] == [("milora", None)]
    assert [(each.engine, each.tenants) for each in figures.skipped] == [("peft", 2)]
    assert "PEFT refuses" in figures.skipped[0].reason


def test_a_method_that_the_engine_does_not_run_is_refused(tiny_model: Any, planned: Any) -> None:
    base = tiny_model("llama").requires_grad_(False)
    moelora = DecodeMethod(
        "moelora", None, planned(base, "MILORA_MOELORA", only=["q", "down"], r=8, experts=4, top_k=2)
    )
    with pytest.raises(MiloraError) as caught:
        time_tenants(base, TenantBench([moelora], None, (1,), (1,), **SIZES), quiet)
    assert caught.value.code == "adapter/unsupported"


def test_bytes_of_the_base_leave_out_what_is_only_looked_up(tiny_model: Any) -> None:
    base = tiny_model("llama")
    layer = 4 * 32 * 32 + 3 * 32 * 48 + 2 * 32
    assert base_bytes(base) == 4 * (3 * layer + 32 + 96 * 32)
    base.lm_head.weight = base.model.embed_tokens.weight
    assert base_bytes(base) == 4 * (3 * layer + 32 + 96 * 32)
    # Two rows of 9 tokens and half of 4 new ones; 3 layers, keys and values, 4 heads of 8, float32.
    assert key_value_bytes(base, 2, 9, 4) == 2 * 11 * 3 * 2 * 4 * 8 * 4


def test_bytes_of_an_adapter_are_those_that_any_of_its_rows_chose(tiny_model: Any, milora_plan: Any) -> None:
    base = tiny_model("llama")
    adapter = made_up_adapter(base, milora_plan(base, only=["q", "k", "up"]))
    none = (0.0, 0.0, 0.0)
    one = ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), none)
    other = ((0.0, 1.0, 0.0), (0.0, 0.0, 2.0), none)
    assert adapter_bytes(adapter, [one], 2) == 2 * 2 * SQUARE
    assert adapter_bytes(adapter, [one, other], 2) == 2 * (2 * SQUARE + WIDE)
    plain = Adapter({"peft_type": "LORA"}, adapter.tensors)
    assert adapter_bytes(plain, [None], 4) == whole_bytes(adapter, 4)


def test_the_expected_ratio_is_of_bytes() -> None:
    assert StepBytes(base=700, adapters=200, keys_values=100).expected_ratio == pytest.approx(0.8)
