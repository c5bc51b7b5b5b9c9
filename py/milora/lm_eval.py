"""lm-evaluation-harness with MiLoRA adapters: its model ``milora``, registered by ``import milora.lm_eval``.

The harness' own model ``hf`` passes no prompt boundary to the model, so that routers would look at continuation and
padding too. ``python -m milora.run lm_eval …`` is the harness' command line with this model beside its own::

    python -m milora.run lm_eval --model milora --model_args pretrained=BASE,peft=ADAPTER --tasks arc_easy

Shapes: B rows, T tokens, V vocabulary, N continuation tokens of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from milora.data import Batch, TokenRow, collate
from milora.errors import MiloraError
from milora.routing.context import RoutingContext, routing_context
from milora.tuners.methods import hooks_of

try:
    from lm_eval.api.registry import register_model
    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.utils import Collator
except ModuleNotFoundError as error:
    raise MiloraError(
        "environment/missing-package",
        f"lm-evaluation-harness cannot be loaded: there is no module {error.name}.",
        hint="Install the extra `lm-eval`: pip install lm-eval==0.4.13.",
        found=f"no module {error.name}",
    ) from error

Request = tuple[tuple[str, str] | None, list[int], list[int]]
"""A request's texts (None: not to be cached), and the token ids of its context and of its continuation."""

Likelihood = tuple[float, bool]
"""A continuation's summed log-likelihood in nats, and whether greedy decoding would give it."""

_PAD_ID = 0


# The harness' decorator hides the attributes of its class from type checkers.
_Harness: Any = HFLM


class MiloraLM(_Harness):
    """The harness' ``hf`` model whose routers see a request's context only, as they do in ``milora eval``.

    Its arguments are those of ``HFLM``; ``pretrained`` may be a model with an adapter, or a path beside ``peft``.
    Batches, truncation and padding are ``HFLM``'s. Log-softmax is in float32 unless ``softmax_dtype`` names another
    type. Without an adapter whose routers decide, everything is ``HFLM``'s.
    """

    def _loglikelihood_tokens(
        self, requests: list[Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Likelihood]:
        """The likelihood of each request's continuation after its context.

        Raises:
            MiloraError: ``input/invalid-spec`` for a continuation that is empty or longer than the model's context.
        """
        context = self._deciding_context()
        if context is None:
            return super()._loglikelihood_tokens(requests, disable_tqdm=disable_tqdm, override_bs=override_bs)
        # Longest first. Not grouped by equal ids, as HFLM does: they may have different boundaries.
        order = Collator(requests, sort_fn=lambda request: (-len(request[1] + request[2]), request[1] + request[2]))
        likelihoods: list[Likelihood] = []
        hidden = disable_tqdm or self.rank != 0
        with tqdm(total=len(requests), disable=hidden, desc="Running loglikelihood requests") as progress:
            for chunk in order.get_batched(**self._batch_sizes(len(requests), override_bs)):
                scored = self._score(context, [self._fit(request) for request in chunk])
                for (texts, _, _), likelihood in zip(chunk, scored, strict=True):
                    if texts is not None:
                        self.cache_hook.add_partial("loglikelihood", texts, likelihood)
                likelihoods.extend(scored)
                progress.update(len(chunk))
        return order.get_original(likelihoods)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """As in ``HFLM``; only where no router decides.

        Raises:
            MiloraError: ``adapter/unsupported`` for an adapter whose routers decide by the prompt.
        """
        if self._deciding_context() is not None:
            raise MiloraError(
                "adapter/unsupported",
                "The likelihood of a whole text (loglikelihood_rolling: perplexity tasks such as wikitext) has no "
                "prompt, and this adapter's routers decide by the prompt. Choose tasks with a context and "
                "continuations, or evaluate the base model or an adapter with a fixed policy.",
            )
        return super().loglikelihood_rolling(requests, disable_tqdm=disable_tqdm)

    def _deciding_context(self) -> RoutingContext | None:
        """The routing context of a model with an adapter whose routers decide by the prompt."""
        configs = getattr(self.model, "peft_config", {})
        reads_prompt = any(hooks_of(self.model, name).reads_prompt(config) for name, config in configs.items())
        return routing_context(self.model) if reads_prompt else None

    def _batch_sizes(self, num_requests: int, override: int | None) -> dict[str, Any]:
        """The harness' options for a fixed batch size, or for one found by trial (``auto``)."""
        if self.batch_size != "auto":
            return {"n": self.batch_size}
        if override or num_requests == 0:
            return {"n": override or 1}
        # Sizes found for other requests, which may have been shorter.
        self.batch_sizes = {}
        return {"n": 0, "batch_fn": self._batch_scheduler}

    def _fit(self, request: Request) -> TokenRow:
        """Cuts a context at its start, as ``HFLM`` does: the last token is scored, but never an input."""
        _, context_ids, continuation_ids = request
        if not context_ids or not 0 < len(continuation_ids) <= self.max_length:
            raise MiloraError(
                "input/invalid-spec",
                f"A request has {len(context_ids)} context and {len(continuation_ids)} continuation tokens; allowed "
                f"are contexts of at least 1 token and continuations of 1 to {self.max_length}.",
            )
        kept = self.max_length + 1 - len(continuation_ids)
        return TokenRow(tuple(context_ids[-kept:]), tuple(continuation_ids), truncated=len(context_ids) > kept)

    def _score(self, context: RoutingContext, rows: Sequence[TokenRow]) -> list[Likelihood]:
        batch = _without_last_column(collate(rows, _PAD_ID, self.device))
        with context.prompt(batch.prompt_mask):
            logits_BTV: Tensor = self._model_call(batch.input_ids)
        positions_N, targets_N = batch.positions.to(logits_BTV.device), batch.targets.to(logits_BTV.device)
        # Picked first: float32 log-probabilities of the continuations only.
        logits_NV = logits_BTV.flatten(0, 1).index_select(0, positions_N)
        dtype = self.softmax_dtype or torch.promote_types(logits_NV.dtype, torch.float32)
        chosen_N = functional.log_softmax(logits_NV, dim=-1, dtype=dtype).gather(1, targets_N[:, None])[:, 0]
        is_greedy_N = logits_NV.argmax(dim=-1) == targets_N
        lengths = [len(row.answer_ids) for row in rows]
        by_row = zip(chosen_N.cpu().double().split(lengths), is_greedy_N.cpu().split(lengths), strict=True)
        return [(float(values.sum()), bool(greedy.all())) for values, greedy in by_row]


register_model("milora")(MiloraLM)


def _without_last_column(batch: Batch) -> Batch:
    """The same batch without the token of its longest rows that predicts nothing."""
    return replace(
        batch,
        input_ids=batch.input_ids[:, :-1],
        attention_mask=batch.attention_mask[:, :-1],
        prompt_mask=batch.prompt_mask[:, :-1],
        # Flat indices: each earlier row is now one token shorter.
        positions=batch.positions - batch.row_of_target,
    )
