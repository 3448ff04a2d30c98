"""TensorLang: layers as equations in index notation, compiled to PyTorch and Triton.

A lazy façade: numpy, sympy, networkx, opt_einsum and torch arrive when something needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tensorlang.version import __version__ as __version__

if TYPE_CHECKING:
    from tensorlang import reference
    from tensorlang.diagnostics import SpecError
    from tensorlang.driver import compile_file as compile
    from tensorlang.explanation import explain
    from tensorlang.factorisation import factorise, factorise_state
    from tensorlang.module import load
    from tensorlang.options import Options
    from tensorlang.verification import verify

_HOME = {
    "load": ("tensorlang.module", "load"),
    "compile": ("tensorlang.driver", "compile_file"),
    "explain": ("tensorlang.explanation", "explain"),
    "factorise": ("tensorlang.factorisation", "factorise"),
    "factorise_state": ("tensorlang.factorisation", "factorise_state"),
    "verify": ("tensorlang.verification", "verify"),
    "reference": ("tensorlang.reference", None),
    "Options": ("tensorlang.options", "Options"),
    "SpecError": ("tensorlang.diagnostics", "SpecError"),
}

__all__ = [
    "Options",
    "SpecError",
    "compile",
    "explain",
    "factorise",
    "factorise_state",
    "load",
    "reference",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tensorlang' has no attribute {name!r}")
    module, attribute = _HOME[name]
    value: Any = importlib.import_module(module)
    if attribute is not None:
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
