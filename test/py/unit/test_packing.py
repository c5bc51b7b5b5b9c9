"""Rows cut into batches."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from milora.engine import packing
from milora.engine.packing import PASS_COST, packed


def cost(lengths: list[int], cuts: list[range]) -> int:
    return sum(PASS_COST + len(cut) * max(lengths[place] for place in cut) for cut in cuts)


def all_cuts(count: int) -> list[list[range]]:
    found: list[list[range]] = []
    for ends in product([False, True], repeat=count - 1):
        edges = [0, *(place + 1 for place, is_end in enumerate(ends) if is_end), count]
        found.append([range(begin, end) for begin, end in pairwise(edges)])
    return found


@pytest.mark.parametrize("lengths", [[1, 2, 3, 90, 91, 95], [5] * 6, [1, 1, 40, 40, 300, 301, 900], [7]])
@pytest.mark.parametrize("most_rows", [1, 3, 8])
def test_the_cut_is_the_cheapest_of_all(lengths: list[int], most_rows: int) -> None:
    found = packed(lengths, most_rows)
    assert [place for cut in found for place in cut] == list(range(len(lengths)))
    allowed = [cuts for cuts in all_cuts(len(lengths)) if max(map(len, cuts)) <= most_rows]
    assert cost(lengths, found) == min(cost(lengths, cuts) for cuts in allowed)


def test_a_pass_is_bounded_in_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_TOKENS", 100)
    assert sorted(len(cut) for cut in packed([10] * 25, 64)) == [5, 10, 10]
    # What the cache holds counts too, and a row that alone is too long still runs.
    assert sorted(len(cut) for cut in packed([10] * 5, 64, width=40)) == [1, 2, 2]
    assert [len(cut) for cut in packed([500, 500], 64)] == [1, 1]


def test_nothing_is_cut_into_nothing() -> None:
    assert packed([], 4) == []
