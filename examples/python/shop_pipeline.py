"""Stands for a pipeline that a company has: rows for training come out of its own objects."""

from collections.abc import Iterator

_STOCK = {"green tea": 12, "black tea": 0, "coffee": 31, "cocoa": 4}


def prompt_of(product: str, *, urgent: bool = False) -> str:
    """What a clerk is asked."""
    if product not in _STOCK:
        raise ValueError(f"there is no product {product!r}; there are {', '.join(_STOCK)}")
    return f"Order: {product}{' (urgent)' if urgent else ''}\nReply:"


def training_rows(count: int) -> Iterator[dict[str, str]]:
    """Mappings of prompt and answer. A list, a `datasets.Dataset` or any other iterable of such rows will do."""
    print(f"making {count} rows")
    products = list(_STOCK)
    for number in range(count):
        product = products[number % len(products)]
        answer = " in stock" if _STOCK[product] else " sold out"
        yield {"prompt": prompt_of(product, urgent=number % 3 == 0), "answer": answer}
