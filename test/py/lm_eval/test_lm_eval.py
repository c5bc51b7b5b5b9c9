"""``MiloraLM`` gives what ``milora eval --scorer loglik`` gives; the harness' own ``HFLM`` does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import milora
from milora.data import Prompt, TextEncoder
from milora.engine import ScoringRow, score_choices
from milora.engine.adapters import ActiveModel
from milora.errors import MiloraError
from milora.routing.context import routing_context

# Not the folder of these tests, which Python may take for a package of this name.
pytest.importorskip("lm_eval.models.huggingface", reason="the extra lm-eval is not installed")

QUESTIONS = {
    "Question: What falls from a cloud?\nAnswer:": (" rain", " a stone of some size", " iron"),
    "Question: Who flies?\nAnswer:": (" a bird", " no", " the table in the room"),
    "Question: Which of the four seasons is the one with the most snow in it?\nAnswer:": (" winter", " may", " s"),
    "Hm?": (" yes", " not at all, as far as anyone knows", "!"),
}
PAIRS = [(context, choice) for context, choices in QUESTIONS.items() for choice in choices]
ROWS_SCRIPT = Path(__file__).parents[2] / "fixtures" / "python" / "lm_eval_rows.py"


def new_lm(kind, model, tokenizer, batch_size: int | str = 4, **options):
    return kind(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, **options)


@pytest.fixture
def hf():
    from lm_eval.models.huggingface import HFLM

    return HFLM


@pytest.fixture
def ours():
    from milora.lm_eval import MiloraLM

    return MiloraLM


@pytest.fixture
def adapted(base, milora_plan, randomize):
    def build(**changes):
        model = milora.attach(base, milora_plan(base, **changes))
        randomize(model, "default")
        return model.eval()

    return build


def likelihoods(lm, requests):
    return [value for value, _ in lm.loglikelihood(requests, disable_tqdm=True)]


def by_engine(model, tokenizer, questions):
    rows = [ScoringRow(Prompt(context), tuple(choices)) for context, choices in questions]
    active = ActiveModel(model, routing_context(model), routing_context(model))
    scored = score_choices(
        active, TextEncoder(tokenizer), rows, micro_batch=5, max_length=None, on_step=lambda done, total: None
    )
    return [choice.log_likelihood for choices in scored for choice in choices]


def on_cache(model, context_ids, continuation_ids):
    """The reference: the prompt alone, then the continuation on its cache."""
    with torch.no_grad():
        prefill = model(input_ids=torch.tensor([context_ids]), use_cache=True)
        logits = [prefill.logits[0, -1:]]
        if len(continuation_ids) > 1:
            rest = torch.tensor([continuation_ids[:-1]])
            logits.append(model(input_ids=rest, past_key_values=prefill.past_key_values, use_cache=True).logits[0])
    values = torch.log_softmax(torch.cat(logits), dim=-1)
    return float(values[torch.arange(len(continuation_ids)), torch.tensor(continuation_ids)].sum())


def difference(one, other):
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("changes", [{}, {"expert": "dora"}, {"pooler": "last-token"}])
def test_equals_our_scorer(adapted, tokenizer, hf, ours, as_requests, batch_size, changes):
    model = adapted(**changes)
    expected = by_engine(model, tokenizer, QUESTIONS.items())
    requests = as_requests("loglikelihood", PAIRS)
    assert len(requests) == 12
    assert difference(likelihoods(new_lm(ours, model, tokenizer, batch_size), requests), expected) <= 1e-4
    assert difference(likelihoods(new_lm(hf, model, tokenizer, batch_size), requests), expected) > 1e-2


def test_same_ids_with_different_boundaries(adapted, tokenizer, ours, as_requests):
    # HFLM computes these once, since all but the last token are the same.
    pairs = [("What is", " it?"), ("What is i", "t?"), ("What is it", "!"), ("What", " is it?")]
    model = adapted()
    expected = by_engine(model, tokenizer, [(context, (choice,)) for context, choice in pairs])
    found = likelihoods(new_lm(ours, model, tokenizer), as_requests("loglikelihood", pairs))
    assert difference(found, expected) <= 1e-4
    assert abs(found[0] - found[3]) > 1e-2


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("max_length", [24, 40])
def test_truncated_context(adapted, tokenizer, ours, as_requests, batch_size, max_length):
    model = adapted()
    lm = new_lm(ours, model, tokenizer, batch_size, max_length=max_length)
    pairs = [pair for pair in PAIRS if len(pair[1]) <= max_length]
    expected = []
    for context, continuation in pairs:
        context_ids, continuation_ids = lm._encode_pair(context, continuation)
        surviving = (context_ids + continuation_ids)[-(max_length + 1) : -len(continuation_ids)]
        expected.append(on_cache(model, surviving, continuation_ids))
    found = likelihoods(lm, as_requests("loglikelihood", pairs))
    assert difference(found, expected) <= 1e-4
    whole = likelihoods(new_lm(ours, model, tokenizer, batch_size), as_requests("loglikelihood", pairs))
    assert difference(found, whole) > 1e-2


def test_automatic_batch_size(adapted, tokenizer, ours, as_requests):
    model, requests = adapted(), as_requests("loglikelihood", PAIRS)
    automatic = new_lm(ours, model, tokenizer, "auto", max_batch_size=8)
    assert difference(likelihoods(automatic, requests), likelihoods(new_lm(ours, model, tokenizer), requests)) <= 1e-4


def test_greedy_continuation(adapted, tokenizer, ours):
    model = adapted()
    lm = new_lm(ours, model, tokenizer)
    context_ids = lm.tok_encode("Question: Who?")
    prompt = torch.tensor([context_ids])
    written = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=6, do_sample=False)
    greedy = written[0, len(context_ids) :].tolist()
    changed = [*greedy[:-1], (greedy[-1] + 1) % len(tokenizer)]
    # The short one is padded: greedy is judged on its own tokens.
    found = lm._loglikelihood_tokens(
        [(None, context_ids, greedy), (None, context_ids, changed), (None, context_ids, greedy[:2])], disable_tqdm=True
    )
    assert [is_greedy for _, is_greedy in found] == [True, False, True]


def test_generate_until_is_ours(adapted, tokenizer, ours, as_requests):
    model = adapted()
    requests = [(context, {"until": ["\n\n\n"], "max_gen_toks": 8}) for context in QUESTIONS]
    written = [
        new_lm(ours, model, tokenizer, size).generate_until(as_requests("generate_until", requests), disable_tqdm=True)
        for size in (1, 4)
    ]
    prompt = tokenizer("Hm?", return_tensors="pt")
    alone = model.generate(**prompt, max_new_tokens=8, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert written[0] == written[1]
    assert written[0][-1] == tokenizer.decode(alone, skip_special_tokens=True)


@pytest.mark.parametrize("method", ["none", "lora", "fixed"])
def test_without_routers_it_is_the_harness(base, adapted, lora_plan, tokenizer, hf, ours, as_requests, method):
    model = base
    if method == "lora":
        model = milora.attach(base, lora_plan(base)).eval()
    if method == "fixed":
        model = adapted(chosen=[["q", "down"], ["v"]])
    requests = as_requests("loglikelihood", PAIRS)
    stock = new_lm(hf, model, tokenizer)
    own = new_lm(ours, model, tokenizer)
    assert own.loglikelihood(requests, disable_tqdm=True) == stock.loglikelihood(requests, disable_tqdm=True)
    rolling = as_requests("loglikelihood_rolling", [("It rains, and then it does not.",)])
    assert own.loglikelihood_rolling(rolling, disable_tqdm=True) == stock.loglikelihood_rolling(
        rolling, disable_tqdm=True
    )


def test_refusals(adapted, tokenizer, ours, as_requests):
    lm = new_lm(ours, adapted(), tokenizer, max_length=16)
    with pytest.raises(MiloraError, match="has no prompt") as refused:
        lm.loglikelihood_rolling(as_requests("loglikelihood_rolling", [("It rains.",)]), disable_tqdm=True)
    assert refused.value.code == "adapter/unsupported"
    for continuation in ([], [5] * 17):
        with pytest.raises(MiloraError, match=f"{len(continuation)} continuation tokens") as refused:
            lm._loglikelihood_tokens([(None, [1, 5], continuation)], disable_tqdm=True)
        assert refused.value.code == "input/invalid-spec"


def test_by_name_from_folders(adapted, tokenizer, base_folder, tmp_path, ours, as_requests):
    from lm_eval.api.registry import get_model

    model = adapted()
    milora.save(model, tmp_path / "adapter")
    assert get_model("milora") is ours
    arguments = f"pretrained={base_folder},peft={tmp_path / 'adapter'},dtype=float32"
    lm = get_model("milora").create_from_arg_string(arguments, {"device": "cpu", "batch_size": 4})
    found = likelihoods(lm, as_requests("loglikelihood", PAIRS))
    assert difference(found, by_engine(model, tokenizer, QUESTIONS.items())) <= 1e-4


@pytest.mark.parametrize("adapter", [False, True])
def test_rows_script(adapted, tokenizer, base, base_folder, tmp_path, ours, adapter):
    """What scripts/lm-eval-agreement.ts asks: our scores, by ``hf`` without an adapter, by ``milora`` with one."""
    command = [sys.executable, str(ROWS_SCRIPT), str(base_folder)]
    model = adapted() if adapter else base
    if adapter:
        milora.save(model, tmp_path / "adapter")
        command.append(str(tmp_path / "adapter"))
    rows = [{"prompt": prompt, "choices": choices} for prompt, choices in QUESTIONS.items()]
    rows.append({"prompt": "Hm? ", "choices": ["yes"]})
    messages = [
        {"do": "likelihoods", "rows": rows, "batch": 4},
        {"do": "texts", "prompts": ["Hm?"], "batch": 1, "settings": {"until": ["\n\n\n"], "max_gen_toks": 8}},
    ]
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    run = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=180, check=True)
    scored, [text] = map(json.loads, run.stdout.splitlines())
    found = [value for row in scored[:-1] for value in row["values"]]
    assert difference(found, by_engine(model, tokenizer, QUESTIONS.items())) <= 1e-4
    # The harness moves a space at the prompt's end to the choice.
    assert [row["sameTokens"] for row in scored] == [[True] * len(row["choices"]) for row in rows[:-1]] + [[False]]
    prompt = tokenizer("Hm?", return_tensors="pt")
    written = model.generate(**prompt, max_new_tokens=8, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert text == tokenizer.decode(written, skip_special_tokens=True)
