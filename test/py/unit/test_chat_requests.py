"""Requests that bring the messages of a chat, in the three operations that take prompts."""

from __future__ import annotations

import json

import pytest

from milora.data import Prompt, TextEncoder
from milora.errors import MiloraError
from milora.server.ops import session

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is 2 + 2?"},
    {"role": "assistant", "content": "4"},
    {"role": "user", "content": "And twice that?"},
]
AS_TEXT = (
    "<bos><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n"
    "<|im_start|>assistant\n4<|im_end|>\n<|im_start|>user\nAnd twice that?<|im_end|>\n<|im_start|>assistant\n"
)


@pytest.fixture
def opened(run_op, checkpoint, milora_plan):
    """Opens the checkpoint with a random MiLoRA adapter ``tuned``."""
    run_op("openModel", model=str(checkpoint), device="cpu", dtype="float32")
    run_op("attachAdapter", adapter="tuned", config=milora_plan(session.current().opened.model))
    return session.current()


def test_a_chat_has_the_template_s_form_and_one_beginning_token(byte_level):
    encoder = TextEncoder(byte_level())
    messages = tuple((message["role"], message["content"]) for message in CHAT)
    (ids,) = encoder.prompt_ids([Prompt(messages=messages)])
    assert ids == encoder.tokenizer(AS_TEXT, add_special_tokens=False)["input_ids"]
    assert [ids[0], ids.count(ids[0])] == [encoder.tokenizer.bos_token_id, 1]


def test_a_template_without_beginning_token_gets_one(byte_level):
    tokenizer = byte_level()
    tokenizer.chat_template = tokenizer.chat_template.replace("{{ bos_token }}", "")
    encoder = TextEncoder(tokenizer)
    (ids,) = encoder.prompt_ids([Prompt(messages=(("user", "hi"), ("assistant", "a"), ("user", "b")))])
    assert [ids[0], ids.count(ids[0])] == [tokenizer.convert_tokens_to_ids("<bos>"), 1]


def test_generation_answers_the_chat_as_its_text(run_op, opened):
    for adapter in (None, "tuned"):
        requests = [{"messages": CHAT, "adapter": adapter}, {"prompt": AS_TEXT, "adapter": adapter}]
        chat, text = run_op("generate", requests=requests, maxNewTokens=6, beams=3)["outputs"]
        assert chat == text
        assert chat["newTokens"] > 0


def test_one_user_message_is_the_same_as_a_prompt_with_chat(run_op, opened):
    requests = [{"messages": [{"role": "user", "content": "Hi"}]}, {"prompt": "Hi", "chat": True}]
    one, other = run_op("generate", requests=requests, maxNewTokens=4)["outputs"]
    assert one == other


def test_scores_and_routes_of_a_chat_are_those_of_its_text(run_op, opened):
    choices = [" 8", " four"]
    rows = [{"messages": CHAT, "choices": choices}, {"prompt": AS_TEXT, "choices": choices}]
    chat, text = run_op("scoreChoices", rows=rows, adapter="tuned")["scores"]
    assert [score["logLikelihood"] for score in chat] == pytest.approx([score["logLikelihood"] for score in text])
    routes = [
        run_op("routePrompts", requests=[request], adapter="tuned")
        for request in ({"messages": CHAT}, {"prompt": AS_TEXT})
    ]
    assert routes[0] == routes[1]


def test_training_and_inference_put_a_chat_into_the_same_tokens(run_op, opened, tmp_path):
    file = tmp_path / "chat.jsonl"
    file.write_text(json.dumps({"messages": [*CHAT, {"role": "assistant", "content": "8"}]}), encoding="utf-8")
    run_op("loadRows", name="chat", file=str(file), maxLength=256)
    trained = list(opened.dataset("chat").rows[0].prompt_ids)
    asked = session.prompt_of({"prompt": "", "chat": False, "messages": CHAT})
    assert opened.encoder.prompt_ids([asked]) == [trained]


@pytest.mark.parametrize(
    ("request_fields", "text"),
    [
        ({"prompt": "Hi", "messages": CHAT}, "one of the two"),
        ({"messages": CHAT[:3]}, "the assistant's"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages"),
    ],
)
def test_what_is_no_chat_is_refused(run_op, opened, request_fields, text):
    with pytest.raises(MiloraError, match=text) as caught:
        run_op("generate", requests=[request_fields], maxNewTokens=1)
    assert caught.value.code == "input/invalid-spec"


def test_a_chat_that_the_template_refuses_names_its_roles(byte_level):
    tokenizer = byte_level()
    tokenizer.chat_template = (
        "{% for message in messages %}{% if message['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}{{ message['content'] }}{% endfor %}"
    )
    with pytest.raises(MiloraError, match="roles system, user: System role not supported") as caught:
        TextEncoder(tokenizer).prompt_ids([Prompt(messages=(("system", "a"), ("user", "b")))])
    assert caught.value.code == "input/invalid-spec"
