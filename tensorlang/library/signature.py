"""Typing rules that rows share: from the dtypes of the arguments to the result's."""

from __future__ import annotations

from tensorlang.dtype import Dtype
from tensorlang.library.row import Function

BOOL, INT, REAL, COMPLEX = Dtype.BOOL, Dtype.INT, Dtype.REAL, Dtype.COMPLEX
NO_ORDER = "complex numbers have no order"


def number(args: tuple[Dtype, ...]) -> Dtype | str:
    """The largest of the arguments' dtypes; booleans count as 0 and 1."""
    return max(INT, *args)


def field(args: tuple[Dtype, ...]) -> Dtype | str:
    """Real, or complex if an argument is: functions that leave the integers."""
    return max(REAL, *args)


def real(args: tuple[Dtype, ...]) -> Dtype | str:
    """Real arguments, real result."""
    return "it is defined on real numbers only" if COMPLEX in args else REAL


def ordered(args: tuple[Dtype, ...]) -> Dtype | str:
    """The largest dtype of arguments that can be compared."""
    return NO_ORDER if COMPLEX in args else max(args)


def ordered_number(args: tuple[Dtype, ...]) -> Dtype | str:
    """As `ordered`, booleans counting as 0 and 1."""
    return NO_ORDER if COMPLEX in args else max(INT, *args)


def rounded(args: tuple[Dtype, ...]) -> Dtype | str:
    """An int from a number of the line."""
    return NO_ORDER if COMPLEX in args else INT


def comparison(args: tuple[Dtype, ...]) -> Dtype | str:
    return "complex numbers cannot be compared" if COMPLEX in args else BOOL


def logical(args: tuple[Dtype, ...]) -> Dtype | str:
    for arg in args:
        if arg is not BOOL:
            return f"it joins conditions (bool), found {arg.name.lower()}"
    return BOOL


def choice(args: tuple[Dtype, ...]) -> Dtype | str:
    """(condition, then, otherwise)."""
    if args[0] is not BOOL:
        return f"its condition is a bool, found {args[0].name.lower()}"
    return max(args[1:])


def same(args: tuple[Dtype, ...]) -> Dtype | str:
    return args[0]


def magnitude(args: tuple[Dtype, ...]) -> Dtype | str:
    """The modulus of a complex number is real."""
    return REAL if args[0] is COMPLEX else max(INT, args[0])


def real_part(args: tuple[Dtype, ...]) -> Dtype | str:
    return REAL


def imaginary_part(args: tuple[Dtype, ...]) -> Dtype | str:
    return REAL if args[0] is COMPLEX else "its argument is real already, its imaginary part is 0"


def pair(args: tuple[Dtype, ...]) -> Dtype | str:
    """(real part, imaginary part)."""
    return "its parts are real numbers" if COMPLEX in args else COMPLEX


def dropped(args: tuple[Dtype, ...]) -> Dtype | str:
    """(value, probability)."""
    if args[0] < REAL:
        return f"it scales real or complex numbers, found {args[0].name.lower()}"
    return "its probability is a real number" if args[1] is COMPLEX else args[0]


def to_int(args: tuple[Dtype, ...]) -> Dtype | str:
    return INT if args[0] <= INT else "a real becomes an int by floor or ceil"


def to_real(args: tuple[Dtype, ...]) -> Dtype | str:
    return "a complex number becomes real by real, imag or abs" if args[0] is COMPLEX else REAL


def to_complex(args: tuple[Dtype, ...]) -> Dtype | str:
    return COMPLEX


def promoted(function: Function, args: tuple[Dtype, ...]) -> tuple[Dtype, ...]:
    """Dtypes that the arguments must be cast to (to_int, to_real, to_complex) before a target
    spells the function: targets promote less than the language does."""
    result = function.dtype(args)
    assert isinstance(result, Dtype), (function.name, args, result)
    if not function.promotes:
        return args
    if function.dtype is choice:
        return (BOOL, result, result)
    if function.dtype is pair:
        return (REAL, REAL)
    return (max(result, *args),) * len(args)
