"""fmt: fmt(fmt(x)) == fmt(x), the tree stays what it was, no comment is lost."""

from __future__ import annotations

import random
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorlang.diagnostics import SpecError
from tensorlang.source import Source
from tensorlang.syntax.format import format_source
from tensorlang.syntax.parse import parse
from tensorlang.syntax.tokens import Line, Token, scan
from tests.example_cases import EXAMPLES
from tests.syntax_trees import tree

FILES = sorted(EXAMPLES.glob("*.tl")) + sorted(EXAMPLES.parent.glob("tensorlang/std/*.tl"))


def fmt(text: str) -> str:
    return format_source(Source("test.tl", text))


def law(text: str) -> str:
    once = fmt(text)
    assert fmt(once) == once
    assert tree(once) == tree(text)
    return once


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_our_own_files_are_in_canonical_form(path: Path) -> None:
    text = path.read_text()
    assert law(text) == text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_wrong_programs_that_parse_keep_their_trees() -> None:
    for path in sorted(Path(__file__).parent.glob("errors/*.tl")):
        text = path.read_bytes().decode("utf-8", errors="replace")
        try:
            parse(Source(path.name, text))
        except SpecError:
            continue
        law(text)


def test_spaces() -> None:
    body = textwrap.dedent(
        """
        layer  L( d=4 ,e:int=- 1,q : list=[ 1,2 , ] ) :
          input X[ ...,(h   c),n:set ] :int,Z
          frozen   param W [d]~normal( std=d ^ - 0.5 )as tucker(ranks=[8])
          dim k=- d//2 %3
          T[n=dst[e],u]+=M[e,u]
          T[n=dst[e],u]max=M[e,u]
          output Y [n]=softmax [ n' where not(n'<=n)and n>0 ] (- X[2*n-1 else - 1]- -|  k |)
          check causal[t]when( d>3 )
        """
    )
    assert law(body) == textwrap.dedent(
        """\
        layer L(d = 4, e: int = -1, q: list = [1, 2]):
            input  X[..., (h c), n: set]: int, Z
            frozen param W[d] ~ normal(std = d^-0.5) as tucker(ranks = [8])
            dim    k = -d // 2 % 3
            T[n = dst[e], u] += M[e, u]
            T[n = dst[e], u] max= M[e, u]
            output Y[n] = softmax[n' where not (n' <= n) and n > 0](-X[2 * n - 1 else -1] - -|k|)
            check  causal[t] when (d > 3)
        """
    )


def test_blank_lines_and_comments() -> None:
    text = """

# head
use std: rmsnorm


use std: gelu
layer A():  # of A

    # first
    input X[n]
  # strange place


    output Y[n] = X[   # the read
        n              # its index
        # alone
    ]


    # last of A
# before B
layer B():

    \"\"\"Says
       what it is.

         More.
    \"\"\"
    input X[n]
    output Y[n] = X   # behind
def f(x) = x
# end
"""
    text = text.replace("  # strange place\n", "    # strange place\n")
    assert (
        law(text)
        == """\
# head
use std: rmsnorm

use std: gelu

layer A():  # of A
    # first
    input  X[n]
    # strange place

    output Y[n] = X[  # the read
        n  # its index
        # alone
        ]

    # last of A

# before B
layer B():
    \"\"\"Says
    what it is.

      More.
    \"\"\"
    input  X[n]
    output Y[n] = X  # behind

def f(x) = x
# end
"""
    )


def test_columns_of_signs_are_kept_where_they_were() -> None:
    text = """\
layer A():
    input X[n], Wide[n]
    Longer[n]   = X
    B[n]        = X
    C[n] = X

    DD[n] = X
    E[n] = X
    output Y[n] = X
"""
    assert law(text).splitlines()[2:8] == [
        "    Longer[n] = X",
        "    B[n]      = X",
        "    C[n] = X",
        "",
        "    DD[n] = X",
        "    E[n] = X",
    ]


def test_long_lines_break_inside_brackets() -> None:
    long = " + ".join(f"Tensor{k}[b, n, d]" for k in range(12))
    text = law(f"layer A():\n    input X[n]\n    output Y[n] = {long}\n")
    lines = text.splitlines()
    assert len(lines) > 4 and all(len(line) <= 100 for line in lines)
    assert lines[2].startswith("    output Y[n] = (Tensor0")
    assert all(line.startswith("        + Tensor") for line in lines[3:])
    header = ", ".join(f"hyper{k} = {k}" for k in range(12))
    lines = law(f"layer A({header}):\n    input X[n]\n    output Y[n] = X\n").splitlines()
    assert lines[1].startswith("        hyper") and lines[2].startswith("    input")


@pytest.mark.parametrize(
    "docstring",
    [
        '"""One."""',
        '""""""',
        '"""Quoted "x" """',
        '"""\n    "x"\n    """',
        '"""One\n\n    two\n      three\n    """',
        '"""\n      One\n        two\n    """',
        '"""\n        One\n      two   \n\n    """',
        '"""One\n        two"""',
    ],
)
def test_docstrings(docstring: str) -> None:
    law(f"layer A():\n    {docstring}\n    input X[n]\n    output Y[n] = X\n")


def test_line_ends_of_windows_and_byte_order_mark() -> None:
    text = "\ufefflayer A():\r\n    input X[n]\r\n\r\n    output Y[n] = X  # c\r\n"
    assert "\r" not in law(text)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.sampled_from(FILES), st.integers(0, 2**32))
def test_any_spacing_and_any_comments(path: Path, seed: int) -> None:
    text = _respaced(path.read_text(), random.Random(seed))
    assert tree(text) == tree(path.read_text())
    once = law(text)
    assert _comments(once) == _comments(text)


def _respaced(text: str, rng: random.Random) -> str:
    """Print a file with other spaces, breaks inside brackets, blank lines and comments."""
    out: list[str] = []
    for line in _lines(text):
        while rng.random() < 0.2:
            out.append(rng.choice(("\n", "# alone\n", "    # inner\n", "   \n")))
        out.append(" " * (3 if line.indent else 0))
        depth = 0
        for token in line.tokens:
            depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
            out.append(token.span.text)
            out.append(_gap(token, depth, rng))
        out.append(rng.choice(("\n", "  # behind\n", "\n")))
    return "".join(out)


def _gap(token: Token, depth: int, rng: random.Random) -> str:
    gaps = [" ", "  ", "\t"]
    if depth:
        gaps += ["\n", " # inside\n  ", "\n  # alone inside\n"]
    return rng.choice(gaps) if rng.random() < 0.3 else " "


def _lines(text: str) -> list[Line]:
    return list(scan(Source("test.tl", text), _no_mistake))


def _no_mistake(diagnostic: object) -> None:
    raise AssertionError(diagnostic)


def _comments(text: str) -> list[str]:
    source = Source("test.tl", text)
    found: list[str] = []
    for _ in scan(source, _no_mistake, lambda a, b: found.append(text[a:b].rstrip())):
        pass
    return found
