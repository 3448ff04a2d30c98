"""A piece of torch code with what its surroundings must know of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tensorlang.backends.torch.sizes import PRIMARY, PRODUCT, SUM, UNARY
from tensorlang.dtype import Dtype


@dataclass(frozen=True, slots=True)
class Code:
    """Text, its precedence, the labels it varies over; `tensor` False for a Python number."""

    text: str
    precedence: int
    labels: frozenset[int]
    dtype: Dtype
    tensor: bool = True
    depth: int = 0

    def at(self, least: int) -> str:
        return self.text if self.precedence >= least else f"({self.text})"


def signed_sum(pairs: Sequence[tuple[Code, bool]], dtype: Dtype) -> Code:
    text = ""
    for code, minus in pairs:
        if not text:
            text = f"-{code.at(UNARY)}" if minus else code.at(SUM)
        else:
            negative = code.text.startswith("-") and not code.tensor
            if negative and code.text[1:].replace(".", "").replace("e-", "").isalnum():
                text += f" {'+' if minus else '-'} {code.text[1:]}"
            else:
                text += f" {'-' if minus else '+'} {code.at(PRODUCT)}"
    codes = [code for code, _ in pairs]
    return Code(
        text,
        SUM,
        frozenset().union(*(code.labels for code in codes)),
        dtype,
        any(code.tensor for code in codes),
        1 + max(code.depth for code in codes),
    )


def power(base: str, exponent: str) -> str:
    """Without spaces where both are short, as a formatter has it."""
    short = base.replace(".", "").isidentifier() and " " not in exponent and "(" not in exponent
    return f"{base}**{exponent}" if short else f"{base} ** {exponent}"


def is_literal(code: Code) -> bool:
    return code.text.lstrip("-")[:1].isdigit() and " " not in code.text


def literal(value: bool | int | float | complex, dtype: Dtype) -> Code:
    if dtype is Dtype.REAL and not isinstance(value, complex):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        text = "torch.nan" if math.isnan(value) else "torch.inf" if value > 0 else "-torch.inf"
    elif isinstance(value, complex):
        text = f"complex({value.real!r}, {value.imag!r})"
    else:
        text = repr(value)
    precedence = UNARY if text.startswith("-") else PRIMARY
    return Code(text, precedence, frozenset(), dtype, tensor=False)


def is_light(text: str) -> bool:
    """A name, an attribute, or a view of one that costs next to nothing to repeat."""
    return text.replace(".", "").replace("_", "").isalnum() or (
        len(text) < 30 and "(" not in text and "range" not in text
    )
