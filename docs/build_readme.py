"""The generated parts of README.md: a layer's emitted forward, its report, an answered mistake."""

from __future__ import annotations

import ast
import re
import textwrap

from tensorlang.check.check import check_spec
from tensorlang.check.spec import spec_of_text
from tensorlang.diagnostics import in_order, render
from tensorlang.driver import Compiled, build
from tensorlang.explanation import explain_compiled
from tensorlang.options import Options

MISTAKEN = """\
layer Mixer(d = 64, heads = 8):
    dim    h = heads, c = d / heads
    input  X[b, n, d]
    param  Wq[d, h, c], Wk[d, h, c] ~ normal(std = d^-0.5)
    Q[b, h, n, c] = X[b, n, d] * Wq[d, h, c]
    K[b, h, n, c] = X[b, n - 1, d] * Wk[d, h, c]
    A[b, h, n, n'] = softmax[n' where n' <= n](Q[b, h, n, c] * K[b, h, n', d])
    output Y[b, h, n, c] = A[b, h, n, n'] * Q[b, h, n', c] * gain[h]
"""


REPORTED = {"X": (2, 64, 64, 256)}


def forward_part(page: str) -> str:
    """The forward of the page's first layer, exactly as the torch target writes it."""
    compiled, layer = _first_layer(page)
    return f"```py\n{forward_of(compiled, layer)}\n```\n"


def report_part(page: str) -> str:
    """What `explain` prints of the page's first layer."""
    compiled, layer = _first_layer(page)
    return f"```text\n{explain_compiled(compiled, layer, REPORTED)}\n```\n"


def _first_layer(page: str) -> tuple[Compiled, str]:
    found = re.search(r"^```tl\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert found is not None, "the page has no tl block"
    spec = spec_of_text(found[1], "axial.tl")
    layer = next(iter(spec.layers))
    return build(spec, {layer: {}}, Options()), layer


def forward_of(compiled: Compiled, layer: str) -> str:
    """The forward method of a layer's class in the emitted module, and what it makes of weights."""
    tree = ast.parse(compiled.source)
    shown = []
    for made in tree.body:
        if isinstance(made, ast.ClassDef) and made.name == compiled.roots[layer]:
            for method in made.body:
                if isinstance(method, ast.FunctionDef) and method.name in ("forward", "_weights"):
                    text = ast.get_source_segment(compiled.source, method, padded=True)
                    assert text is not None
                    shown.append(textwrap.dedent(text))
    assert shown, f"no forward of {layer} in the emitted module"
    return "\n\n".join(shown)


def wrong_part(page: str) -> str:
    """A wrong program."""
    return f"```text\n{MISTAKEN}```\n"


def mistake_part(page: str) -> str:
    """All that `tensorlang check` says about it."""
    found = in_order(check_spec(spec_of_text(MISTAKEN, "mixer.tl")))
    said = "\n\n".join(render(diagnostic) for diagnostic in found)
    return f"```text\n{said}\n```\n"
