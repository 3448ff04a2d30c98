"""The best order that only multiplies neighbours of a line, as a sweep over a chain does.

The tensors are laid out so that little is open between a part of the line and the rest.
"""

from __future__ import annotations

from tensorlang.order.prices import Prices, mask
from tensorlang.order.trees import Product, Tree


def along_a_line(product: Product, prices: Prices) -> Tree:
    """Dynamic programming over the intervals of the line."""
    order = _line(product, prices)
    masks = [mask(product.operands[number]) for number in order]
    count = len(masks)
    before, after = [0], [mask(product.output)]  # the output counts as outside
    for k in range(count):
        before.append(before[-1] | masks[k])
        after.append(after[-1] | masks[count - 1 - k])
    kept: dict[tuple[int, int], int] = {}
    seconds: dict[tuple[int, int], float] = {}
    split: dict[tuple[int, int], int] = {}
    for start in range(count):
        inside = 0
        for stop in range(start + 1, count + 1):
            inside |= masks[stop - 1]
            kept[start, stop] = inside & (before[start] | after[count - stop])
        kept[start, start + 1] = masks[start]
        seconds[start, start + 1] = 0.0
    for length in range(2, count + 1):
        for start in range(count - length + 1):
            stop = start + length
            result, least = kept[start, stop], float("inf")
            for middle in range(start + 1, stop):
                total = seconds[start, middle] + seconds[middle, stop]
                if total >= least:
                    continue
                total += prices.step(kept[start, middle], kept[middle, stop], result)
                if total < least:
                    least, split[start, stop] = total, middle
            seconds[start, stop] = least
    tree: list[tuple[int, int]] = []

    def made(start: int, stop: int) -> int:
        if stop == start + 1:
            return order[start]
        low, high = sorted((made(start, split[start, stop]), made(split[start, stop], stop)))
        tree.append((low, high))
        return count + len(tree) - 1

    made(0, count)
    return tuple(tree)


def _line(product: Product, prices: Prices) -> list[int]:
    """Next is always the tensor that leaves the fewest cells open, the result's axes apart."""
    masks = [mask(operand) for operand in product.operands]
    output = mask(product.output)
    left = list(range(len(masks)))
    out: list[int] = []
    has = 0

    def open_after(number: int) -> float:
        rest = 0
        for other in left:
            if other != number:
                rest |= masks[other]
        return prices.volume((has | masks[number]) & rest & ~output)

    while left:
        near = [number for number in left if masks[number] & has & ~output] or left
        chosen = min(near, key=lambda number: (open_after(number), number))
        out.append(chosen)
        left.remove(chosen)
        has |= masks[chosen]
    return out
