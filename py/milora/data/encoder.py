"""Text to token ids, once for training, scoring and generation.

Prompt and answer are tokenised apart and their ids joined: a prompt's last token does not depend on its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from milora.errors import MiloraError

# SentencePiece tokenizers put a space before a text. Behind this anchor, which is cut off again, they do not.
_anchor = "\n"
_probe = "a"

EMPTY_PROMPT = "the prompt is empty, and this tokenizer has no beginning token to start from."


@dataclass(frozen=True)
class Prompt:
    """What a model is asked: a text, or the messages of a chat (role and content), put into the chat template."""

    text: str = ""
    messages: tuple[tuple[str, str], ...] | None = None

    @classmethod
    def user(cls, text: str) -> Prompt:
        """A chat of one user message."""
        return cls(messages=(("user", text),))


class TextEncoder:
    """A tokenizer with the rules of this package.

    Args:
        tokenizer: The checkpoint's own.
        end_ids: Ids that end a generation according to the checkpoint; the first is the end token where the
            tokenizer has none.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, end_ids: Sequence[int] = ()) -> None:
        self.tokenizer = tokenizer
        self.start_ids = self._find_start()
        self._anchor_ids = self._find_anchor()
        self.end_id = self._find_end(end_ids)
        self.turn_end_id = self._find_turn_end() if self.has_chat_template else self.end_id
        self.stop_ids: tuple[int, ...] = tuple(dict.fromkeys([self.end_id, self.turn_end_id, *end_ids]))
        # A pad is masked by its position, so the end token serves where there is no pad token.
        self.pad_id = _single_id(tokenizer.pad_token_id, self.end_id)

    @property
    def has_chat_template(self) -> bool:
        """Whether the checkpoint brings a chat template."""
        return bool(self.tokenizer.chat_template)

    def prompt_ids(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Ids of prompts; each begins with the tokenizer's beginning tokens exactly once, if it has any.

        Raises:
            MiloraError: ``model/unsupported`` for a chat without a chat template, ``input/invalid-spec`` for a
                prompt without a single token.
        """
        encoded = self.encode_prompts(prompts)
        for index, ids in enumerate(encoded):
            if not ids:
                raise MiloraError("input/invalid-spec", f"Prompt {index}: {EMPTY_PROMPT}", path=f"[{index}].prompt")
        return encoded

    def encode_prompts(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """As :meth:`prompt_ids`, but an empty prompt without beginning token gives no ids."""
        texts = [prompt.text if prompt.messages is None else self._render(prompt.messages) for prompt in prompts]
        start = list(self.start_ids)
        # A template, or a user, may have written the beginning token as text.
        return [ids if ids[: len(start)] == start else start + ids for ids in self._encode(texts)]

    def continuation_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of texts that follow a prompt: no beginning token, no space put before them, no end token."""
        anchor = self._anchor_ids
        if anchor is None:
            return self._encode(texts)
        return [ids[len(anchor) :] for ids in self._encode([_anchor + text for text in texts])]

    def answer_ids(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> list[list[int]]:
        """Ids of answers with the end token: a chat's end of turn, else the end of the text."""
        ends = [self.end_id if prompt.messages is None else self.turn_end_id for prompt in prompts]
        return [[*ids, end] for ids, end in zip(self.continuation_ids(answers), ends, strict=True)]

    def decode_continuation(self, ids: Sequence[int]) -> str:
        """The text of generated ids as it follows its prompt, without special tokens."""
        anchor = self._anchor_ids or []
        text = self._decode([*anchor, *ids])
        return text[len(self._decode(anchor)) :] if anchor else text

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts), add_special_tokens=False, return_attention_mask=False, padding=False, verbose=False
        )
        return [list(ids) for ids in encoded["input_ids"]]

    def _decode(self, ids: Sequence[int]) -> str:
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def _render(self, messages: Sequence[tuple[str, str]], generation_prompt: bool = True) -> str:
        if not self.has_chat_template:
            raise MiloraError(
                "model/unsupported",
                "The data is a chat, but this checkpoint has no chat template.",
                hint='Use the format "plain", or an instruction-tuned checkpoint.',
            )
        conversation: list[dict[str, Any]] = [{"role": role, "content": content} for role, content in messages]
        try:
            text = self.tokenizer.apply_chat_template(
                conversation, tokenize=False, add_generation_prompt=generation_prompt
            )
        except TemplateError as error:
            roles = ", ".join(role for role, _ in messages)
            message = f"The checkpoint's chat template refuses a chat of the roles {roles}: {error}"
            raise MiloraError("input/invalid-spec", message, path="messages", found=roles) from error
        assert isinstance(text, str)
        return text

    def _find_start(self) -> tuple[int, ...]:
        bare = self._encode([_probe])[0]
        full: list[int] = list(self.tokenizer(_probe)["input_ids"])
        for num_start in range(len(full) - len(bare) + 1):
            if full[num_start : num_start + len(bare)] == bare:
                return tuple(full[:num_start])
        return ()

    def _find_anchor(self) -> list[int] | None:
        first = self.tokenizer.convert_ids_to_tokens(self._encode([_probe])[0][:1])
        if not first or not str(first[0]).startswith("\u2581"):
            return None
        anchor, probe = self._encode([_anchor, _anchor + _probe])
        return anchor if probe[: len(anchor)] == anchor else None

    def _find_end(self, end_ids: Sequence[int]) -> int:
        end = _single_id(self.tokenizer.eos_token_id, next(iter(end_ids), -1))
        if end < 0:
            message = "Neither the tokenizer nor the configuration of this model names an end token."
            raise MiloraError("model/unsupported", message)
        return end

    def _find_turn_end(self) -> int:
        """The special token that the chat template writes behind an assistant's message."""
        content = "abc"
        try:
            full = self._render((("user", "x"), ("assistant", content)), generation_prompt=False)
        except Exception:  # noqa: BLE001 - a template is a program of the checkpoint; it may refuse for any reason
            return self.end_id
        behind = full[full.rfind(content) + len(content) :]
        ids = self._encode([behind])[0] if content in full and behind else []
        special = set(self.tokenizer.all_special_ids) | {
            index for index, token in self.tokenizer.added_tokens_decoder.items() if token.special
        }
        return next((token for token in ids if token in special), self.end_id)


def _single_id(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise
