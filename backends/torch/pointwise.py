"""Scalar expressions as torch code, through the spellings of the library's rows.

Operators are printed with Python's precedences; what is used twice, deep or long gets a name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.code import Code, is_light, is_literal, literal, power, signed_sum
from tensorlang.backends.torch.numbers import quotient, reciprocal
from tensorlang.backends.torch.operand import Operand, aligned, contiguous
from tensorlang.backends.torch.reads import read_operand
from tensorlang.backends.torch.sizes import (
    BITS,
    COMPARE,
    POWER,
    PRIMARY,
    PRODUCT,
    SUM,
    UNARY,
)
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import App, Arg, Iota, Lit, Node, Pointwise, Scalar, SizeOf
from tensorlang.library import signature
from tensorlang.library.row import Function
from tensorlang.registry import functions

LONGEST = 24  # terms of one printed sum or product
DEEPEST = 8
WIDEST = 160

_COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_OPERATORS = {"div", "floordiv", "mod", "pow", *_COMPARISONS}
_PROMOTING = {"add", "mul", "neg", "div", "pow", "floordiv", "mod", "where", *_COMPARISONS}


def pointwise(body: Body, node: Node, name: str) -> Operand:
    """The value of a Pointwise over its axes 0 … rank-1."""
    assert isinstance(node.op, Pointwise), node
    printer = _Printer(body, node, name)
    if node.reads or node.dtype is not Dtype.REAL or not isinstance(node.op.expr, App):
        return printer.whole(printer.code(node.op.expr))
    with body.at_least_float32():
        code = printer.code(node.op.expr)
    if code.tensor:
        text = f"{code.at(PRIMARY)}.to({body.dtype_text(Dtype.REAL)})"
        code = Code(text, PRIMARY, code.labels, Dtype.REAL)
    return printer.whole(code)


class _Printer:
    def __init__(self, body: Body, node: Node, name: str) -> None:
        self.body, self.node, self.name = body, node, name
        self.axes = tuple(range(node.rank))
        assert isinstance(node.op, Pointwise), node
        self.root = node.op.expr
        self.uses: Counter[Scalar] = Counter()
        self._count(self.root)
        self.named: dict[Scalar, Code] = {}
        self.functions = functions()

    def _count(self, scalar: Scalar) -> None:
        self.uses[scalar] += 1
        if isinstance(scalar, App) and self.uses[scalar] == 1:
            for arg in scalar.args:
                self._count(arg)

    # --- results ---
    def whole(self, code: Code) -> Operand:
        """All axes present, as a tensor of the node's dtype."""
        if not code.tensor:
            return self._full(code)
        if code.dtype < self.node.dtype:
            code = self._cast(code, self.node.dtype)
        present = [axis for axis in self.axes if axis in code.labels]
        if len(present) == len(self.axes):
            return contiguous(code.text, self.axes, self.node.dtype)
        shape = [
            "-1" if axis in code.labels else self.body.size_text(self.node.sizes[axis])[0]
            for axis in self.axes
        ]
        text = f"{code.at(PRIMARY)}.expand({', '.join(shape)})"
        return contiguous(text, self.axes, self.node.dtype)

    def _full(self, code: Code) -> Operand:
        shape = self.body.sizes(self.node.shape)
        dtype = self.body.dtype_text(self.node.dtype)
        text = (
            f"torch.full(({shape}{',' if self.node.rank == 1 else ''}), {code.text}, "
            f"dtype={dtype}, device={self.body.device})"
        )
        return contiguous(text, self.axes, self.node.dtype)

    # --- expressions ---
    def code(self, scalar: Scalar) -> Code:
        if scalar in self.named:
            return self.named[scalar]
        match scalar:
            case Arg(position):
                out = self._arg(scalar, position)
            case Lit(value, dtype):
                out = literal(value, dtype)
            case Iota(index):
                variable = self.body.arange(self.node.sizes[index])
                text = aligned(contiguous(variable, (index,), Dtype.INT), self.axes).text
                out = Code(text, PRIMARY, frozenset((index,)), Dtype.INT)
            case SizeOf(size):
                text, precedence = self.body.size_text(size)
                out = Code(text, precedence, frozenset(), Dtype.INT, tensor=False)
            case App():
                out = self._app(scalar)
            case _:
                assert_never(scalar)
        return out

    def _arg(self, scalar: Scalar, position: int) -> Code:
        read = self.node.reads[position]
        operand = aligned(read_operand(self.body, read, self.node.sizes, ordered=True), self.axes)
        text = operand.text
        if not is_light(text) and (self.uses[scalar] > 1 or len(text) > 60):
            text = self.body.assign(f"{self._source(read.node)}_read", text)
        out = Code(text, PRIMARY, frozenset(operand.labels), operand.dtype)
        self.named[scalar] = out
        return out

    def _source(self, slot: int) -> str:
        return self.body.source_names.get(slot, "value")

    def _app(self, app: App) -> Code:
        out = self._combined(app)
        if not out.tensor:
            return out
        if app == self.root:
            return out
        repeated = self.uses[app] > 1
        if repeated or out.depth > DEEPEST or len(out.text) > WIDEST:
            out = self._named(out)
            self.named[app] = out
        return out

    def _named(self, code: Code) -> Code:
        text = self.body.assign(f"{self.name}_part", code.text)
        return Code(text, PRIMARY, code.labels, code.dtype)

    def _combined(self, app: App) -> Code:
        """The code of an application, its arguments' first."""
        if app.function in ("and", "or"):
            app = replace(app, args=self._joined(app.function, app.args))
        if app.function == "add":
            return self._sum(app)
        if app.function == "mul" and any(reciprocal(arg) is not None for arg in app.args):
            return self.code(quotient(app))
        args = [self.code(arg) for arg in app.args]
        row = self.functions[app.function]
        if not any(arg.tensor for arg in args):
            if app.function == "to_real":  # a number is what its use makes of it
                (arg,) = args
                return Code(arg.text, arg.precedence, arg.labels, Dtype.REAL, False, arg.depth)
            args = self._numbers(app.function, args)
        args = self._promoted(row, args)
        labels = frozenset().union(*(arg.labels for arg in args))
        depth = 1 + max(arg.depth for arg in args)
        tensor = any(arg.tensor for arg in args)

        def made(text: str, precedence: int) -> Code:
            return Code(text, precedence, labels, app.dtype, tensor, depth)

        if app.function == "sqrt" and not tensor:
            return made(power(args[0].at(PRIMARY), "0.5"), POWER)

        match app.function:
            case "max" | "min" if not tensor:
                return made(f"{app.function}({', '.join(arg.text for arg in args)})", PRIMARY)
            case "mul":
                return self._product(args, app.dtype)
            case "neg":
                return made(f"-{args[0].at(UNARY)}", UNARY)
            case "div":
                return made(f"{args[0].at(PRODUCT)} / {args[1].at(UNARY)}", PRODUCT)
            case "floordiv" if not tensor or app.dtype is not Dtype.REAL:  # no derivative in torch
                return made(f"{args[0].at(PRODUCT)} // {args[1].at(UNARY)}", PRODUCT)
            case "mod":
                return made(f"{args[0].at(PRODUCT)} % {args[1].at(UNARY)}", PRODUCT)
            case "pow":
                return made(power(args[0].at(PRIMARY), args[1].at(UNARY)), POWER)
            case "and" | "or":
                operator = " & " if app.function == "and" else " | "
                while len(args) > LONGEST:
                    text = operator.join(arg.at(SUM) for arg in args[:LONGEST])
                    args = [self._named(made(text, BITS)), *args[LONGEST:]]
                return made(operator.join(arg.at(SUM) for arg in args), BITS)
            case "not":
                return made(f"~{args[0].at(UNARY)}", UNARY)
            case name if name in _COMPARISONS:
                left, right = (arg.at(BITS) for arg in args)
                return made(f"{left} {_COMPARISONS[name]} {right}", COMPARE)
            case "where":
                return self._where(args, app.dtype, labels, depth)
        return self._spelled(row, args, app.dtype, labels, depth)

    def _joined(self, function: str, args: Sequence[Scalar]) -> tuple[Scalar, ...]:
        """Conditions of the same kind inside conditions, taken out."""
        out: list[Scalar] = []
        for arg in args:
            if isinstance(arg, App) and arg.function == function and self.uses[arg] == 1:
                out.extend(self._joined(function, arg.args))
            else:
                out.append(arg)
        return tuple(out)

    def _sum(self, app: App) -> Code:
        row = self.functions["add"]
        codes: list[Code] = []
        signs: list[bool] = []
        for arg in app.args:
            minus = isinstance(arg, App) and arg.function == "neg" and self.uses[arg] == 1
            if minus:
                assert isinstance(arg, App)
                arg = arg.args[0]
            codes.append(self.code(arg))
            signs.append(minus)
        codes = self._promoted(row, codes)
        if signs[0] and not all(signs):  # start with a term that is not negated
            first = signs.index(False)
            codes.insert(0, codes.pop(first))
            signs.insert(0, signs.pop(first))
        if len(codes) > 1 and any(code.text != "0.0" for code in codes):
            kept = [k for k, code in enumerate(codes) if code.text != "0.0"]
            codes, signs = [codes[k] for k in kept], [signs[k] for k in kept]
        numbers = [(c, s) for c, s in zip(codes, signs, strict=True) if not c.tensor]
        others = [(c, s) for c, s in zip(codes, signs, strict=True) if c.tensor]
        if others and not others[0][1] and len(numbers) < len(codes):
            pairs = [*others, *numbers]
        else:
            pairs = list(zip(codes, signs, strict=True))
        total: Code | None = None
        for start in range(0, len(pairs), LONGEST):
            chunk = pairs[start : start + LONGEST]
            if total is not None:
                chunk = [(self._accumulated(total), False), *chunk]
            total = signed_sum(chunk, app.dtype)
        assert total is not None, app
        return total

    def _accumulated(self, code: Code) -> Code:
        if code.text.isidentifier():
            return code
        return self._named(code)

    def _product(self, args: Sequence[Code], dtype: Dtype) -> Code:
        if not any(arg.tensor for arg in args) and any(arg.text == "0.0" for arg in args):
            return Code("0.0", PRIMARY, frozenset(), dtype, tensor=False)
        # numbers first, of these the literals
        args = sorted(args, key=lambda arg: (arg.tensor, not arg.tensor and not is_literal(arg)))
        total: Code | None = None
        for start in range(0, len(args), LONGEST):
            chunk = list(args[start : start + LONGEST])
            if total is not None:
                chunk = [self._named(total), *chunk]
            # a quotient after the first factor would change its meaning: a * (b / c)
            texts = [arg.at(PRODUCT if k == 0 else UNARY) for k, arg in enumerate(chunk)]
            total = Code(
                " * ".join(texts),
                PRODUCT,
                frozenset().union(*(arg.labels for arg in chunk)),
                dtype,
                any(arg.tensor for arg in chunk),
                1 + max(arg.depth for arg in chunk),
            )
        assert total is not None
        return total

    def _where(
        self, args: Sequence[Code], dtype: Dtype, labels: frozenset[int], depth: int
    ) -> Code:
        condition, then, other = args
        if not condition.tensor:
            condition = self._lifted(condition)
        if not then.tensor and not other.tensor:
            if (then.text, other.text) in (("1", "0"), ("1.0", "0.0")):
                return self._cast(condition, dtype)
            if (then.text, other.text) in (("0", "1"), ("0.0", "1.0")):
                inverse = Code(f"~{condition.at(UNARY)}", UNARY, condition.labels, Dtype.BOOL)
                return self._cast(inverse, dtype)
            then = self._lifted(then, dtype)
        text = f"torch.where({condition.text}, {then.text}, {other.text})"
        return Code(text, PRIMARY, labels, dtype, True, depth)

    def _spelled(
        self,
        row: Function,
        args: Sequence[Code],
        dtype: Dtype,
        labels: frozenset[int],
        depth: int,
    ) -> Code:
        if row.name in ("max", "min") and dtype < Dtype.REAL:
            numbers = [arg for arg in args if not arg.tensor]
            if len(numbers) == 1:
                (tensor,) = (arg for arg in args if arg.tensor)
                side = "min" if row.name == "max" else "max"
                text = f"{tensor.at(PRIMARY)}.clamp({side}={numbers[0].text})"
                return Code(text, PRIMARY, labels, dtype, True, depth)
        spelling = row.torch
        assert spelling is not None, row.name
        spelling = spelling.replace("torch.nn.functional.", "F.")
        args = self._tensors(row, args)
        primary = "{0}." in spelling
        texts = [arg.at(PRIMARY if primary else 0) for arg in args]
        text = spelling
        for k in range(len(texts)):
            text = text.replace("{" + str(k) + "}", f"\0{k}\0")
        for field, dtype_of in (("{dtype}", Dtype.REAL), ("{complex_dtype}", Dtype.COMPLEX)):
            if field in text:
                text = text.replace(field, self.body.dtype_text(dtype_of))
        text = text.replace("{training}", self.body.training)
        for k, piece in enumerate(texts):
            text = text.replace(f"\0{k}\0", piece)
        return Code(text, PRIMARY, labels, dtype, True, depth)

    def _numbers(self, function: str, args: Sequence[Code]) -> list[Code]:
        """Numbers as tensors, unless Python's arithmetic says the same of them.

        It does not for a zero divisor, and sizes may be zero.
        """
        if function in ("mul", "neg", "sqrt"):
            return list(args)
        if function in ("max", "min") and all(arg.dtype < Dtype.REAL for arg in args):
            return list(args)
        if function == "pow" and not args[1].text.startswith("-"):
            return list(args)
        if function in ("div", "floordiv", "mod") and args[1].text.lstrip("-")[0] in "123456789":
            return list(args)
        if function == "dropout":  # whose rate is a Python number
            return [self._drawn(args[0]), *args[1:]]
        return (
            [self._lifted(args[0]), *args[1:]]
            if function in _OPERATORS
            else [self._lifted(arg) for arg in args]
        )

    # --- dtypes ---
    def _promoted(self, row: Function, args: Sequence[Code]) -> list[Code]:
        """Cast what torch would not promote as the language does."""
        wanted = signature.promoted(row, tuple(arg.dtype for arg in args))
        out = []
        for k, (arg, dtype) in enumerate(zip(args, wanted, strict=True)):
            if not arg.tensor or arg.dtype >= dtype:
                out.append(arg)
                continue
            partners = [a for j, a in enumerate(args) if j != k and a.tensor and a.dtype == dtype]
            if partners and row.name in _PROMOTING:
                out.append(arg)
            else:
                out.append(self._cast(arg, dtype))
        return out

    def _cast(self, code: Code, dtype: Dtype) -> Code:
        if code.dtype >= dtype and code.dtype == dtype:
            return code
        text = f"{code.at(PRIMARY)}.to({self.body.dtype_text(dtype)})"
        return Code(text, PRIMARY, code.labels, dtype, True, code.depth)

    def _tensors(self, row: Function, args: Sequence[Code]) -> list[Code]:
        """Numbers as tensors where torch's function takes no numbers."""
        if row.name == "dropout":
            return list(args)
        dtype = max(arg.dtype for arg in args)
        if any(not arg.tensor for arg in args) and dtype >= Dtype.REAL:
            args = [
                self._named(arg)
                if arg.tensor and arg.dtype == dtype and not arg.text.isidentifier()
                else arg
                for arg in args
            ]
        partner = next((arg for arg in args if arg.tensor and arg.dtype == dtype), None)
        out = []
        for arg in args:
            if arg.tensor:
                out.append(arg)
            elif partner is not None and partner.text.isidentifier():
                text = f"{partner.text}.new_full((), {arg.text})"
                out.append(Code(text, PRIMARY, frozenset(), dtype))
            else:
                out.append(self._lifted(arg, dtype))
        return out

    def _drawn(self, code: Code) -> Code:
        """What is drawn for each cell; a number alone is for each of the node's."""
        if code.tensor or not isinstance(self.root, App) or self.root.function != "dropout":
            return self._lifted(code)
        return Code(self._full(code).text, PRIMARY, frozenset(self.axes), code.dtype)

    def _lifted(self, code: Code, dtype: Dtype | None = None) -> Code:
        """A Python number as a tensor without axes."""
        if code.tensor:
            return code
        dtype = code.dtype if dtype is None else dtype
        shown = self.body.dtype_text(dtype)
        text = f"torch.full((), {code.text}, dtype={shown}, device={self.body.device})"
        return Code(text, PRIMARY, frozenset(), dtype)
