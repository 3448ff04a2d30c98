"""Makes a tree better: parts of it with few leaves are replaced by the best order of those leaves.

The best order is by dynamic programming over subsets under the planner's own cost.
"""

from __future__ import annotations

from tensorlang.order.prices import Prices, mask
from tensorlang.order.trees import Product, Tree

_LEAVES = 6
_ROUNDS = 4

Nested = int | tuple["Nested", "Nested"]


def refine(product: Product, tree: Tree, prices: Prices, leaves: int = _LEAVES) -> Tree:
    """A tree that costs at most what this one does."""
    count = len(product.operands)
    if count < 3:
        return tree
    shape = _Shape(product, tree, prices)
    for _ in range(_ROUNDS):
        changed = False
        for node in range(2 * count - 2, count - 1, -1):  # from the root down
            changed |= shape.improve(node, leaves)
        if not changed:
            break
    return shape.tree()


class _Shape:
    """A tree as children of nodes; node numbers keep what they stand for only while unchanged."""

    def __init__(self, product: Product, tree: Tree, prices: Prices) -> None:
        self.count = len(product.operands)
        self.prices = prices
        self.children = {self.count + k: pair for k, pair in enumerate(tree)}
        self.root = self.count + len(tree) - 1
        self.operands = [mask(operand) for operand in product.operands]
        self.output = mask(product.output)
        self.result: dict[int, int] = {}
        self._results()
        self.seen: set[tuple[object, ...]] = set()

    def _results(self) -> None:
        """Indices of every node: what it has and what is needed outside of it."""
        has = dict(enumerate(self.operands))
        order = self._postorder()
        for node in order:
            left, right = self.children[node]
            has[node] = has[left] | has[right]
        outside = {self.root: self.output}
        for node in reversed(order):
            left, right = self.children[node]
            outside[left] = outside[node] | has[right]
            outside[right] = outside[node] | has[left]
        self.result = {node: has[node] & outside[node] for node in order}
        self.result.update(enumerate(self.operands))

    def _postorder(self) -> list[int]:
        out: list[int] = []
        stack = [self.root]
        while stack:
            node = stack.pop()
            out.append(node)
            stack += [child for child in self.children[node] if child >= self.count]
        return out[::-1]

    def improve(self, node: int, most: int) -> bool:
        """Reorder the part of the tree below a node; whether that made it cheaper."""
        leaves, inner, now = self._part(node, most)
        if len(leaves) < 3:
            return False
        key = (node, tuple(leaves))
        masks = [self.result[leaf] for leaf in leaves]
        seen = (self.result[node], tuple(masks))
        if seen in self.seen:
            return False
        seconds, made = _best(masks, self.result[node], self.prices)
        if seconds >= now * (1 - 1e-9):
            self.seen.add(seen)
            return False
        free = [number for number in inner if number != node]

        def place(part: Nested, number: int | None) -> int:
            if isinstance(part, int):
                return leaves[part]
            mine = free.pop() if number is None else number
            self.children[mine] = (place(part[0], None), place(part[1], None))
            return mine

        assert place(made, node) == node and not free, key
        self._results()
        return True

    def _part(self, node: int, most: int) -> tuple[list[int], list[int], float]:
        """Leaves of the part below a node, widened where the intermediate is largest."""
        leaves, inner, seconds = [node], [], 0.0
        while len(leaves) < most:
            open_ = [leaf for leaf in leaves if leaf >= self.count]
            if not open_:
                break
            widest = max(open_, key=lambda leaf: (leaf == node, self._volume(leaf), -leaf))
            left, right = self.children[widest]
            place = leaves.index(widest)
            leaves[place : place + 1] = [left, right]
            inner.append(widest)
            seconds += self.prices.step(self.result[left], self.result[right], self.result[widest])
        return leaves, inner, seconds

    def _volume(self, node: int) -> float:
        return self.prices.volume(self.result[node])

    def tree(self) -> Tree:
        """The tree in the numbering of trees, operands that come first multiplied first."""
        numbers = {leaf: leaf for leaf in range(self.count)}
        out: list[tuple[int, int]] = []
        for node in self._ordered():
            left, right = self.children[node]
            low, high = sorted((numbers[left], numbers[right]))
            numbers[node] = self.count + len(out)
            out.append((low, high))
        return tuple(out)

    def _ordered(self) -> list[int]:
        """Inner nodes, children first; of two subtrees that with the smaller operand first."""
        least = {leaf: leaf for leaf in range(self.count)}
        for node in self._postorder():
            left, right = self.children[node]
            least[node] = min(least[left], least[right])
        out: list[int] = []
        stack = [(self.root, False)]
        while stack:
            node, ready = stack.pop()
            if node < self.count:
                continue
            if ready:
                out.append(node)
                continue
            first, second = sorted(self.children[node], key=least.__getitem__)
            stack += [(node, True), (second, False), (first, False)]
        return out


def best_order(product: Product, prices: Prices, kept: frozenset[int]) -> Nested:
    """The cheapest order of all operands, products of those that are `kept` for nothing."""
    masks = [mask(operand) for operand in product.operands]
    return _best(masks, mask(product.output), prices, mask(kept))[1]


def _best(masks: list[int], result: int, prices: Prices, free: int = 0) -> tuple[float, Nested]:
    """The cheapest order of these tensors, outer products allowed."""
    count = len(masks)
    whole = (1 << count) - 1
    has = [0] * (whole + 1)
    for subset in range(1, whole + 1):
        low = (subset & -subset).bit_length() - 1
        has[subset] = has[subset & (subset - 1)] | masks[low]
    needed = [has[s] & (result | has[whole ^ s]) for s in range(whole + 1)]
    seconds: list[float] = [0.0] * (whole + 1)
    made: list[Nested] = [0] * (whole + 1)
    for k in range(count):
        needed[1 << k] = masks[k]
        made[1 << k] = k
    for subset in range(1, whole + 1):
        if not subset & (subset - 1):
            continue
        low = subset & -subset
        rest = subset ^ low
        least, split = float("inf"), 0
        part = rest
        while part:  # the side without the lowest tensor
            other = subset ^ part
            before = seconds[part] + seconds[other]
            if before < least:
                step = prices.step(needed[other], needed[part], needed[subset])
                total = before + (0.0 if subset & ~free == 0 else step)
                if total < least:
                    least, split = total, part
            part = (part - 1) & rest
        seconds[subset] = least
        made[subset] = (made[subset ^ split], made[split])
    return seconds[whole], made[whole]
