"""Which steps of a plan are made of parameters alone: they can be kept while nothing trains."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.ir import nodes
from tensorlang.ir.reads import leaves, operands
from tensorlang.plan.plan import AnyStep, Plan, Slot, Step

KEPT = '''
_KEPT = weakref.WeakKeyDictionary()


def _kept(module: nn.Module, made: Callable, params: tuple[nn.Parameter, ...]):
    """What is made of parameters alone: kept in eval() without grad while they stay the same."""
    if torch.compiler.is_compiling():
        return made()
    if module.training:
        _KEPT.pop(module, None)
        return made()
    grad = torch.is_grad_enabled() and any(p.requires_grad for p in params)
    plain = all(type(p) is nn.Parameter and not p.is_inference() for p in params)
    if grad or not plain or torch.is_autocast_enabled(params[0].device.type):
        return made()
    key = tuple((p.data_ptr(), p._version, p.dtype, p.device) for p in params)
    kept = _KEPT.setdefault(module, {})
    if made.__name__ not in kept or kept[made.__name__][0] != key:
        # the parameters' memory is held on to, so that its addresses are theirs alone
        kept[made.__name__] = key, made(), [p.detach() for p in params]
    return kept[made.__name__][1]
'''
"""Printed where a layer has such steps. Never in state_dict, copies or pickles."""

_COSTLY = nodes.Contract | nodes.Pointwise | nodes.Transform


def weight_steps(steps: Sequence[AnyStep], plan: Plan) -> tuple[list[Step], list[Slot]]:
    """Steps that read no input, and the parameters that they read; none where they cost nothing.

    Only of layers that store params as factors.
    """
    if not plan.program.factored:
        return [], []
    outputs = {*plan.outputs}
    params = dict.fromkeys(slot for _, slot in plan.params)
    known = {*params, *(slot for _, slot, _ in plan.consts)}
    found: list[Step] = []
    read: dict[Slot, None] = {}
    for step in steps:
        if not isinstance(step, Step) or not isinstance(step.node.op, _COSTLY | nodes.Merge):
            continue
        below = operands(step.node)
        if below and set(below) <= known and not _random(step.node) and _static(step.node):
            if step.out in outputs:  # callers may write into what they are given
                return [], []
            found.append(step)
            known.add(step.out)
            read.update((slot, None) for slot in below if slot in params)
    if not read or not any(isinstance(step.node.op, _COSTLY) for step in found):
        return [], []
    return found, list(read)


def _static(node: nodes.Node) -> bool:
    """Whether no size of an input occurs in it, as a size or as a value."""
    sizes = list(node.sizes)
    if isinstance(node.op, nodes.Pointwise):
        sizes += [leaf.size for leaf in leaves(node.op.expr) if isinstance(leaf, nodes.SizeOf)]
    offsets = [
        subscript.offset
        for read in node.reads
        for subscript in read.subscripts
        if isinstance(subscript, nodes.Affine)
    ]
    return all(isinstance(size, int) for size in (*sizes, *offsets))


def _random(node: nodes.Node) -> bool:
    return isinstance(node.op, nodes.Pointwise) and _drops(node.op.expr)


def _drops(expr: nodes.Scalar) -> bool:
    if not isinstance(expr, nodes.App):
        return False
    return expr.function == "dropout" or any(_drops(arg) for arg in expr.args)
