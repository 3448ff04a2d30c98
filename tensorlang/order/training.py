"""What a tree costs forward and backward: for a step C = A·B also the gradients of A and of B."""

from __future__ import annotations

from collections.abc import Mapping

from tensorlang.order.prices import ITEM, Prices, mask
from tensorlang.order.profile import Profile
from tensorlang.order.trees import Product, Tree, pairs

_NODE = 3  # launches that a step of the backward takes beside its arithmetic


class Training(Prices):
    """Steps priced together with the gradients of both operands."""

    def _step(self, a: int, b: int, out: int) -> float:
        forward = Prices._step(self, a, b, out)
        return forward + self.gradient(out, b, a) + self.gradient(out, a, b)

    def gradient(self, out: int, other: int, wanted: int) -> float:
        """Seconds of the gradient of one operand, from that of the result and the other operand."""
        volume, profile = self.volume, self.profile
        seconds = _NODE * profile.launch
        if volume(other & wanted & ~out) > 1:
            return seconds + Prices._step(self, out, other, wanted & (out | other))
        # of a product that broadcasts: as large as the result, then summed
        moved = ITEM * (2 * volume(out) + volume(other))
        seconds += profile.product(1.0, moved) + profile.first_touch(ITEM * volume(out))
        if volume(wanted) < volume(out):
            seconds += profile.stream(ITEM * (volume(out) + volume(wanted)))
        return seconds


def trained(
    product: Product,
    tree: Tree,
    sizes: Mapping[int, int],
    profile: Profile,
    grads: frozenset[int],
) -> float:
    """Seconds of a tree whose operands `grads` need a gradient: both passes, copies twice."""
    forward, both = Prices(sizes, profile), Training(sizes, profile)
    if len(product.operands) < 2:
        return forward.tree(product, tree)
    needed = set(grads)
    steps = list(pairs(product, tree))
    seconds = forward.tree(product, tree) + forward.copies(product, steps, ())
    for number, pair in enumerate(steps):
        a, b = mask(pair.left_indices), mask(pair.right_indices)
        out = mask(pair.result)
        for operand, mine, other in ((pair.left, a, b), (pair.right, b, a)):
            if operand in needed:
                seconds += both.gradient(out, other, mine)
                needed.add(len(product.operands) + number)
    return seconds
