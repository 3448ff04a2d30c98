"""How a callee's dims meet the caller's indices at a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sympy

from tensorlang.check import terms as t
from tensorlang.check.calls import Indices, Match, SubLayerInfo
from tensorlang.check.errors.layers import BadCall, CallSize, SeveralTargets, StackShape
from tensorlang.check.errors.types import ConditionMisplaced
from tensorlang.check.mentions import base
from tensorlang.check.program import Index
from tensorlang.check.scope import Env, LayerScope, Tensor, primed
from tensorlang.check.types import ARTICLE
from tensorlang.size import Size, same, simplest
from tensorlang.source import Span
from tensorlang.syntax import ast

if TYPE_CHECKING:
    from tensorlang.check.session import Interface


# --- matching ------------------------------------------------------------------------------------
def sub_layer(scope: LayerScope, call: ast.Call, env: Env) -> t.Term:
    """A call within an expression: the callee has one output."""
    term = matched(scope, call, env)
    if isinstance(term, t.SubLayer) and len(term.match.outputs) != 1:
        count = len(term.match.outputs)
        fault = f"{call.name} returns {count} tensors: write  A[...], B[...] = {call.name}(...)"
        scope.report(SeveralTargets(call.span, fault))
        return t.Bad(span=call.span)
    return term


def matched(scope: LayerScope, call: ast.Call, env: Env) -> t.SubLayer | t.Bad:
    """Match a call's arguments with the callee's inputs and find its outputs' indices."""
    sub = scope.subs[call.name]
    bad = t.Bad(span=call.span)
    if call.where is not None:
        scope.report(ConditionMisplaced(call.where.span, call.name))
        return bad
    args = tuple(
        scope.expression(argument.expr, Env(const=env.const)) for argument in call.args or ()
    )
    if sub.interface is None:
        return bad
    if env.const is not None:
        scope.report(BadCall(call.span, sub.name, "a const cannot depend on it", sub.span))
        return bad
    return _Matcher(scope, call, sub, sub.interface, args, {}, {}, {}).match() or bad


@dataclass(slots=True)
class _Matcher:
    scope: LayerScope
    call: ast.Call
    sub: SubLayerInfo
    callee: Interface
    args: tuple[t.Term, ...]
    explicit: dict[str, ast.Name]
    met: dict[str, Index]  # callee's index name to the caller's index
    sizes: dict[sympy.Symbol, Size]  # callee's dynamic sizes in the caller's

    def match(self) -> t.SubLayer | None:
        if not self._bindings() or not self._count() or any(arg.bad for arg in self.args):
            return None
        inputs = [
            self._input(tensor, arg)
            for tensor, arg in zip(self.callee.inputs, self.args, strict=True)
        ]
        if any(slots is None for slots in inputs) or not self._sizes_agree():
            return None
        outputs = [self._output(tensor) for tensor in self.callee.outputs]
        if any(slots is None for slots in outputs):
            return None
        match = Match(
            self.sub,
            tuple(slots for slots in inputs if slots is not None),
            tuple(slots for slots in outputs if slots is not None),
        )
        batch = [t.without(arg.free, match.consumed(k)) for k, arg in enumerate(self.args)]
        own: t.Free = {i: None for slot in match.outputs[0] if slot for i in slot}
        clash = [index for index in own if any(index in free for free in batch)]
        if clash:
            name = clash[0].name
            hint = f"rename the output's index: {self.sub.name}[{name} = ...](...)"
            self._fault(f"what is passed has a batch index {name}, which is its output's too", hint)
            return None
        if self.sub.count is not None and not self._threads(match):
            self.scope.report(StackShape(self.call.span, self.sub.name))
            return None
        return t.SubLayer(
            span=self.call.span,
            free=t.union([*batch, own]),
            dtype=self.callee.outputs[0].dtype,
            match=match,
            args=self.args,
        )

    def _fault(self, fault: str, hint: str | None = None, span: Span | None = None) -> None:
        self.scope.report(
            BadCall(span or self.call.span, self.sub.name, fault, self.sub.span, hint)
        )

    def _bindings(self) -> bool:
        """Read `n = x` in brackets."""
        tensors = (*self.callee.inputs, *self.callee.outputs)
        known = dict.fromkeys(
            index.name
            for tensor in tensors
            for axis in tensor.slots
            if axis
            for index in axis.indices
        )
        for slot in self.call.slots or ():
            match slot:
                case ast.BindSlot(
                    ast.ExprSlot(ast.Name() as left, None), ast.ExprSlot(ast.Name() as right, None)
                ):
                    pass
                case _:
                    self._fault("takes in brackets its dims = your indices", span=slot.span)
                    return False
            if left.id in self.explicit:
                self._fault(f"{left.id} is bound twice", span=slot.span)
                return False
            if left.id not in known and not any(base(name) == left.id for name in known):
                has = ", ".join(known)
                self._fault(
                    f"it has no index {left.id}", f"it has {has}" if has else None, left.span
                )
                return False
            self.explicit[left.id] = right
        return True

    def _count(self) -> bool:
        named = [argument for argument in self.call.args or () if argument.name is not None]
        if named:
            self._fault("inputs go by position, without names", span=named[0].span)
            return False
        if len(self.args) != len(self.callee.inputs):
            count = len(self.callee.inputs)
            shown = ", ".join(tensor.name + tensor.shown() for tensor in self.callee.inputs)
            plural = "1 input" if count == 1 else f"{count} inputs"
            self._fault(f"it takes {plural} ({shown}), {len(self.args)} given")
            return False
        return True

    def _explicit(self, name: str) -> tuple[bool, Index | None]:
        """The caller's index that brackets give this one: `n = x` also makes n' x'."""
        root = base(name)
        for key in (name, root):
            if key in self.explicit:
                written = self.explicit[key]
                index = self.scope.known_index(written.id)
                if index is None:
                    return True, None
                return True, primed(index, len(name) - len(key))
        return False, None

    def _input(self, tensor: Tensor, arg: t.Term) -> tuple[Indices | None, ...] | None:
        out: list[Indices | None] = []
        for axis in tensor.slots:
            if axis is None:
                out.append(None)
                continue
            found = [self._met(tensor, index, arg) for index in axis.indices]
            if any(index is None for index in found):
                return None
            out.append(tuple(index for index in found if index is not None))
        if arg.dtype > tensor.dtype:
            kinds = (ARTICLE[tensor.dtype], ARTICLE[arg.dtype])
            self._fault(
                f"its input {tensor.name} is {kinds[0]}, what is passed is {kinds[1]}",
                span=arg.span,
            )
            return None
        indices = [index for slot in out if slot for index in slot]
        if len(set(indices)) < len(indices):
            names = " and ".join(dict.fromkeys(i.name for i in indices if indices.count(i) > 1))
            self._fault(f"two axes of its input {tensor.name} are bound to {names}", span=arg.span)
            return None
        return tuple(out)

    def _met(self, tensor: Tensor, index: Index, arg: t.Term) -> Index | None:
        found = self.met.get(index.name)
        if found is None:
            written, found = self._explicit(index.name)
            if written and found is None:
                asked = self.explicit.get(index.name) or self.explicit[base(index.name)]
                self.scope.unknown(base(asked.id), asked.span)
                return None
            found = found or self.scope.known_index(index.name)
        if found is None or found not in arg.free:
            name = index.name if found is None else found.name
            hint = None
            if found is None or found.name == index.name:
                hint = f"say which index it is: {self.sub.name}[{index.name} = ...](...)"
            shown = f"{tensor.name}{tensor.shown()}"
            self._fault(
                f"its input {shown} has axis {index.name}, what is passed has no {name}", hint
            )
            return None
        self.met[index.name] = found
        size = index.dim.size
        if isinstance(size, sympy.Symbol) and size in self.callee.dynamic:
            if not same(self.sizes.setdefault(size, found.dim.size), found.dim.size):
                self._size(index, self.sizes[size], found)
                return None
        elif isinstance(size, int) and not same(size, found.dim.size):
            self._size(index, size, found)
            return None
        return found

    def _size(self, index: Index, expected: Size, found: Index) -> None:
        meets = f"{found.name} of size {found.dim.size}"
        self.scope.report(
            CallSize(self.call.span, self.sub.name, index.name, str(expected), meets, self.sub.span)
        )

    def _sizes_agree(self) -> bool:
        """Compare the sizes that depend on others, now that those are known."""
        for tensor in self.callee.inputs:
            for axis in tensor.slots:
                for index in axis.indices if axis is not None else ():
                    size, found = self._in_caller(index.dim.size), self.met[index.name]
                    if self._settled(index.dim.size) and not same(size, found.dim.size):
                        self._size(index, size, found)
                        return False
        return True

    def _settled(self, size: Size) -> bool:
        return isinstance(size, int) or all(
            symbol in self.sizes or symbol not in self.callee.dynamic
            for symbol in size.free_symbols
        )

    def _in_caller(self, size: Size) -> Size:
        if isinstance(size, int):
            return size
        return simplest(size.subs(self.sizes, simultaneous=True)) if self.sizes else size

    def _output(self, tensor: Tensor) -> tuple[Indices | None, ...] | None:
        out: list[Indices | None] = []
        for axis in tensor.slots:
            if axis is None:
                out.append(None)
                continue
            found = [self._brought(index) for index in axis.indices]
            if any(index is None for index in found):
                return None
            out.append(tuple(index for index in found if index is not None))
        return tuple(out)

    def _brought(self, index: Index) -> Index | None:
        """The caller's index for an index of an output."""
        found = self.met.get(index.name)
        size = self._in_caller(index.dim.size)
        if found is None:
            _, found = self._explicit(index.name)
            written = self.explicit.get(index.name)
            name = index.name if written is None else written.id
            found = found or self.scope.known_index(name)
            if found is None and not self._may_bring(name):
                what = self.scope.names.get(name)
                kind = "no dim here" if what is None else f"{what.kind.value} here"
                hint = f"rename it: {self.sub.name}[{index.name} = ...](...)"
                self._fault(f"its output has the index {index.name}; {name} is {kind}", hint)
                return None
            if found is None:
                self.scope.dims.bring(name, size)
                found = self.scope.known_index(name)
                assert found is not None, name
        if not same(size, found.dim.size):
            self._size(index, size, found)
            return None
        return found

    def _may_bring(self, name: str) -> bool:
        return (
            base(name) == name and name not in self.scope.names and not self.scope.dims.broken(name)
        )

    def _threads(self, match: Match) -> bool:
        """Whether a stage returns what it takes."""
        if len(match.outputs) != 1:
            return False
        taken, given = match.inputs[0], match.outputs[0]
        return (
            sorted(map(_names, taken)) == sorted(map(_names, given))
            and self.callee.inputs[0].dtype is self.callee.outputs[0].dtype
        )


def _names(slot: Indices | None) -> str:
    return "..." if slot is None else " ".join(index.name for index in slot)
