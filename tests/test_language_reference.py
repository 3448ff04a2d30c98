"""The language reference: its programs are right, its lists are those of the compiler."""

from __future__ import annotations

import json
import re

import pytest

from tensorlang import registry
from tensorlang.check.check import check_layer, check_spec
from tensorlang.check.names import reserved
from tensorlang.check.program import AlongOp, ReduceOp, TransformOp
from tensorlang.check.spec import spec_of_text
from tensorlang.source import Source
from tensorlang.syntax.format import format_source
from tensorlang.syntax.parse import grammar
from tensorlang.syntax.tokens import KEYWORDS
from tests.example_cases import EXAMPLES

PAGE = (EXAMPLES.parent / "grammar" / "SPEC.md").read_text()
BLOCKS = re.findall(r"^```tl\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_there_are_programs() -> None:
    assert len(BLOCKS) > 8
    assert set(re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)) == {"tl", "ebnf"}


@pytest.mark.parametrize("text", BLOCKS, ids=lambda text: text.splitlines()[0])
def test_programs_are_right_and_formatted(text: str) -> None:
    spec = spec_of_text(text)
    assert [d.message() for d in check_spec(spec)] == []
    for name, layer in spec.layers.items():
        needed = [hyper.name for hyper in layer.ast.hypers if hyper.default is None]
        check_layer(spec, name, dict.fromkeys(needed, 4))
    assert format_source(Source("page.tl", text)) == text


def test_every_function_operator_and_initialiser_is_named() -> None:
    names = {name for name, row in registry.functions().items() if not row.reserved}
    names |= {op.value for kind in (ReduceOp, AlongOp, TransformOp) for op in kind}
    names |= {*registry.initialisers(), *KEYWORDS, *reserved()}
    written = set(re.findall(r"[a-z][a-z_0-9]*", PAGE))
    assert sorted(names - written) == []


def test_every_rule_of_the_grammar_has_its_words() -> None:
    block = re.search(r"^```ebnf\n(file .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert block is not None
    signs = {t.pattern.value for t in grammar().terminals if t.pattern.type == "str"}
    assert signs - {","} == set(re.findall(r'"([^" ]+)"', block.group(1))) - {"|"}


def test_the_editor_grammar_knows_the_same_words() -> None:
    patterns = json.loads((EXAMPLES.parent / "grammar" / "tensorlang.tmLanguage.json").read_text())
    rules = [
        re.compile(rule["match"].replace(r"\x{370}-\x{3ff}", "\u0370-\u03ff"))
        for rule in patterns["patterns"]
        if "match" in rule
    ]
    names = {name for name, row in registry.functions().items() if not row.reserved}
    names |= {op.value for kind in (ReduceOp, AlongOp, TransformOp) for op in kind}
    for name in sorted({*names, *KEYWORDS}):
        found = [rule.search(f"{name}(") for rule in rules]
        assert any(match is not None and match.group() == name for match in found), name
