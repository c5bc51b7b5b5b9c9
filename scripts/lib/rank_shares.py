"""How alike ranks' shares are: made-up steps, dealt as a training deals them.

Reads JSON ``{counts, steps, rows, micro, seed}`` from stdin and prints ``{rows, shares}``: the drawn steps,
[steps][rows] of a prompt's and an answer's tokens, and for each count of ranks, as a mean over the steps, the slowest
rank's and the mean rank's padded tokens ``{count, slowest, mean, slowestPrompt, meanPrompt}``.
"""

from __future__ import annotations

import json
import random
import sys

from milora.data import TokenRow
from milora.training.batching import deal

_MEDIAN_TOKENS = 130
_SPREAD = 0.7
_LONGEST = 1024


def draw_row(source: random.Random) -> TokenRow:
    """Log-normal length, a quarter of it the answer."""
    length = min(_LONGEST, max(16, round(_MEDIAN_TOKENS * source.lognormvariate(0, _SPREAD))))
    answer = length // 4
    return TokenRow((0,) * (length - answer), (0,) * answer)


def work(groups: list[list[TokenRow]]) -> tuple[int, int]:
    """Padded tokens of a share, and those of its prompts alone, which the pass for f computes."""
    whole = sum(len(group) * max(row.length for row in group) for group in groups)
    return whole, sum(len(group) * max(len(row.prompt_ids) for row in group) for group in groups)


def main() -> None:
    """See the module."""
    asked = json.load(sys.stdin)
    source = random.Random(asked["seed"])
    steps = [[draw_row(source) for _ in range(asked["rows"])] for _ in range(asked["steps"])]
    found = []
    for count in asked["counts"]:
        totals = [0.0] * 4
        for rows in steps:
            shares = [work(groups) for groups in deal(rows, asked["micro"], count)]
            whole, prompts = zip(*shares, strict=True)
            parts = (max(whole), sum(whole) / count, max(prompts), sum(prompts) / count)
            totals = [total + part / asked["steps"] for total, part in zip(totals, parts, strict=True)]
        names = ("slowest", "mean", "slowestPrompt", "meanPrompt")
        found.append({"count": count, **dict(zip(names, totals, strict=True))})
    drawn = [[(len(row.prompt_ids), len(row.answer_ids)) for row in rows] for rows in steps]
    print(json.dumps({"rows": drawn, "shares": found}))


if __name__ == "__main__":
    main()
