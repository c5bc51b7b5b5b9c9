"""Prompts and answers as token ids: traps 3 to 6."""

from __future__ import annotations

import pytest
import torch

from milora.data import Prompt, TextEncoder, TextRow, TokenRow, build_dataset, collate, fit_row
from milora.errors import MiloraError

TURN = Prompt.user("hi")


def token_id(encoder: TextEncoder, token: str) -> int:
    found = encoder.tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


def test_one_beginning_token_with_and_without_a_chat_template(byte_level):
    encoder = TextEncoder(byte_level())
    bos = token_id(encoder, "<bos>")
    for prompt in (Prompt("hi"), TURN, Prompt("<bos>hi")):
        (ids,) = encoder.prompt_ids([prompt])
        assert ids[0] == bos
        assert ids.count(bos) == 1


def test_no_beginning_token_where_the_tokenizer_adds_none(byte_level):
    encoder = TextEncoder(byte_level(adds_bos=False, chat=False))
    assert encoder.start_ids == ()
    assert encoder.prompt_ids([Prompt("hi")]) == [byte_level(adds_bos=False)("hi")["input_ids"]]


def test_training_and_inference_see_the_same_prompt_ids(byte_level, silent):
    encoder = TextEncoder(byte_level())
    prompts = [Prompt("a b"), TURN, Prompt("ends in a space ")]
    dataset = build_dataset(encoder, [TextRow(prompt, "yes", 1) for prompt in prompts], 200, silent)
    assert [list(row.prompt_ids) for row in dataset.rows] == encoder.prompt_ids(prompts)


def test_a_prompt_that_ends_in_a_space_keeps_its_last_token(byte_level, silent):
    tokenizer = byte_level(chat=False)
    encoder = TextEncoder(tokenizer)
    row = build_dataset(encoder, [TextRow(Prompt("say "), "yes", 1)], 99, silent).rows[0]
    joined = tokenizer("say yes")["input_ids"]
    assert row.prompt_ids[-1] == tokenizer.convert_tokens_to_ids("Ġ")
    # Tokenised together, the space would have merged with the answer.
    assert [*row.prompt_ids, *row.answer_ids[:-1]] != joined
    assert tokenizer.convert_tokens_to_ids("Ġy") in joined


def test_the_end_token_is_trained_although_it_is_the_pad_token(byte_level, silent):
    encoder = TextEncoder(byte_level(pad="<eos>"))
    rows = build_dataset(encoder, [TextRow(Prompt("a"), "b", 1), TextRow(Prompt("abcdef"), "ghi", 2)], 99, silent).rows
    batch = collate(rows, encoder.pad_id, torch.device("cpu"))
    for index, row in enumerate(rows):
        assert batch.targets[batch.row_of_target == index].tolist() == list(row.answer_ids)
        assert row.answer_ids[-1] == encoder.tokenizer.eos_token_id
    assert batch.num_answer_tokens == 2 + 4


def test_a_chat_answer_ends_with_the_end_of_its_turn(byte_level):
    encoder = TextEncoder(byte_level())
    turn_end = token_id(encoder, "<|im_end|>")
    plain, chat = encoder.answer_ids([Prompt("x"), TURN], ["yes", "yes"])
    assert plain[-1] == encoder.tokenizer.eos_token_id
    assert chat[-1] == turn_end
    assert {plain[-1], turn_end} <= set(encoder.stop_ids)


def test_a_chat_without_template_is_refused(byte_level):
    with pytest.raises(MiloraError, match="no chat template") as caught:
        TextEncoder(byte_level(chat=False)).prompt_ids([TURN])
    assert caught.value.code == "model/unsupported"


def test_an_empty_prompt_without_beginning_token_is_refused(byte_level):
    assert TextEncoder(byte_level()).prompt_ids([Prompt("")])[0]
    with pytest.raises(MiloraError, match="Prompt 1: the prompt is empty"):
        TextEncoder(byte_level(adds_bos=False)).prompt_ids([Prompt("a"), Prompt("")])


def test_an_empty_prompt_in_a_file_names_its_line(byte_level, silent):
    encoder = TextEncoder(byte_level(adds_bos=False))
    with pytest.raises(MiloraError, match="Line 7") as caught:
        build_dataset(encoder, [TextRow(Prompt("a"), "b", 6), TextRow(Prompt(""), "b", 7)], 99, silent)
    assert caught.value.code == "data/bad-row"


def test_no_second_space_before_a_continuation(sentence_piece):
    encoder = TextEncoder(sentence_piece())
    tokenizer = encoder.tokenizer
    whole = tokenizer("say\n yes", add_special_tokens=False)["input_ids"]
    (prompt,) = encoder.prompt_ids([Prompt("say\n")])
    spaced, bare = encoder.continuation_ids([" yes", "yes"])
    assert prompt + spaced == [tokenizer.bos_token_id, *whole]
    assert tokenizer.convert_ids_to_tokens(bare)[0] == "y"
    assert encoder.decode_continuation(spaced) == " yes"
    assert encoder.decode_continuation(bare) == "yes"


@pytest.mark.parametrize("max_length", [4, 5, 6, 9, 10, 11, 20])
def test_the_prompt_is_cut_at_its_start_behind_the_beginning_token(max_length: int):
    prompt, answer = [1, 11, 12, 13, 14, 15, 16], [21, 22, 2]
    row = fit_row(prompt, answer, 1, max_length)
    if max_length < 5:
        assert row.answer_ids == ()
        return
    assert row.length == min(max_length, 10)
    assert row.answer_ids == (21, 22, 2)
    assert row.prompt_ids[0] == 1
    assert row.prompt_ids[1:] == tuple(prompt[-(len(row.prompt_ids) - 1) :])
    assert row.truncated == (max_length < 10)


def test_an_answer_that_is_too_long_drops_the_row():
    row = fit_row([1, 2, 3], list(range(50)), 1, 20)
    assert row == TokenRow((1, 2, 3), ())


def test_the_checksum_tells_rows_apart(byte_level, silent):
    encoder = TextEncoder(byte_level())

    def checksum(*pairs: tuple[str, str]) -> str:
        rows = [TextRow(Prompt(prompt), answer, 1) for prompt, answer in pairs]
        return build_dataset(encoder, rows, 99, silent).checksum

    assert checksum(("a", "b")) == checksum(("a", "b"))
    assert len({checksum(("a", "b")), checksum(("ab", "")), checksum(("a", "b"), ("c", "d"))}) == 3
