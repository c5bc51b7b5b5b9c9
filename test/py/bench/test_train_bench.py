"""The bench of training: who is compared with whom, in which order, and how the figures are made."""

from __future__ import annotations

from typing import Any

import pytest

from milora.bench import Contender, Method, PeakTrial, TrainBench, peak_bytes, time_training
from milora.bench import train as bench_train
from milora.bench.engines import twin, usual_attention
from milora.errors import MiloraError


class Clockwork:
    """An engine whose steps take what the list says; it notes when it ran."""

    def __init__(self, name: str, seconds: list[float], order: list[str]) -> None:
        self._name, self._seconds, self._order = name, iter(seconds), order

    def step(self) -> float:
        self._order.append(self._name)
        return next(self._seconds)

    def losses(self, steps: int) -> list[float]:
        return []


SECONDS = {
    # The first step is not measured. In the second round the machine was slow for all.
    ("hf-trainer", "sdpa"): [99.0, 4.0, 40.0, 4.4],
    ("hf-trainer", "eager"): [99.0, 3.0, 30.0, 3.0],
    ("milora", "lora"): [99.0, 2.0, 20.0, 2.0],
    ("milora", "milora"): [99.0, 2.1, 21.0, 2.0],
}


def test_ratios_are_of_the_same_round_and_every_round_begins_elsewhere(
    tiny_model: Any, lora_plan: Any, milora_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def fake(contender: Contender, *_: Any) -> Clockwork:
        name = contender.attention if contender.engine == "hf-trainer" else contender.method
        return Clockwork(name, SECONDS[contender.engine, name], order)

    monkeypatch.setattr(bench_train.Contender, "open", fake)
    base = tiny_model("llama")
    methods = [Method("lora", lora_plan(base)), Method("milora", milora_plan(base))]
    told: list[tuple[int, int]] = []
    bench = TrainBench(methods, lora_plan(base), tokens=10, batch=4, rounds=3)
    usual, eager, lora, milora = time_training(base, bench, lambda done, total: told.append((done, total)))
    assert order[:8] == ["sdpa", "eager", "lora", "milora", "eager", "lora", "milora", "sdpa"]
    assert told[-1] == (16, 16)
    assert (usual.ratio_to_peer, usual.attention, usual.step_to_lora) == (1.0, "sdpa", None)
    assert usual.tokens_per_second == pytest.approx(40 / 4.4)
    assert eager.ratio_to_peer == pytest.approx(4 / 3)
    assert lora.ratio_to_peer == pytest.approx(2.0)
    assert lora.ratio_to_eager_peer == pytest.approx(1.5)
    assert milora.step_to_lora == pytest.approx(1.05)


def test_a_compiled_method_stands_beside_itself_and_is_compared_with_compiled_lora(
    tiny_model: Any, lora_plan: Any, milora_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {("hf-trainer", "lora", False): 4.0, ("milora", "lora", False): 2.0, ("milora", "lora", True): 1.0}

    def fake(contender: Contender, *_: Any) -> Clockwork:
        key = (contender.engine, contender.method, contender.compiled)
        return Clockwork("", [seconds.get(key, 3.0)] * 3, [])

    monkeypatch.setattr(bench_train.Contender, "open", fake)
    base = tiny_model("llama")
    methods = [Method("lora", lora_plan(base)), Method("milora", milora_plan(base))]
    bench = TrainBench(methods, lora_plan(base), tokens=10, batch=4, rounds=2, compiled=True)
    rows = time_training(base, bench, lambda *_: None)[2:]
    assert [(row.method, row.compiled) for row in rows] == [
        ("lora", False),
        ("lora", True),
        ("milora", False),
        ("milora", True),
    ]
    assert [row.step_to_lora for row in rows] == pytest.approx([1.0, 1.0, 1.5, 3.0])
    assert [row.ratio_to_peer for row in rows] == pytest.approx([2.0, 4.0, 4 / 3, 4 / 3])


def test_twins_share_their_weights_and_nothing_else(tiny_model: Any) -> None:
    base = tiny_model("llama").requires_grad_(False)
    base.set_attn_implementation("eager")
    other = twin(base, "sdpa")
    assert all(own is shared for own, shared in zip(base.parameters(), other.parameters(), strict=True))
    assert (base.config._attn_implementation, other.config._attn_implementation) == ("eager", "sdpa")
    assert usual_attention(base) == "sdpa"


def test_a_peak_is_measured_in_another_process(tiny_model: Any, lora_plan: Any, tmp_path: Any) -> None:
    base = tiny_model("llama")
    contender = Contender("lora", "hf-trainer", "sdpa", lora_plan(base))
    missing = PeakTrial(str(tmp_path / "none"), "cpu", "float32", "eager", contender, tokens=8, batch=2)
    with pytest.raises(MiloraError, match="There is no model at") as caught:
        peak_bytes(missing)
    assert caught.value.code == "python/exception"
