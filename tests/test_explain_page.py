"""`explain --html`: one page that needs nothing else, whatever a spec holds."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

import tensorlang as tl
from tensorlang.cli import tensorlang
from tensorlang.explanation import explain_compiled
from tensorlang.explanation.page import to_page
from tests.example_cases import EXAMPLES

VOID = {"meta", "br", "rect", "path"}
HOSTILE = '''
# a comment </table><script>alert(1)</script>
layer L(d = 4, word: str = "</style><script>alert(2)</script>"):
    """</title><img src=x onerror=alert(3)> & 'quoted' "text" https://example.com/x.js"""
    input  X[n, d]   # <script src="https://example.com/x.js"></script>
    param  Wα[d, d'] ~ normal
    output Y[n, d] = X[n, d'] * Wα[d, d'] if n < 3 else 0
'''


class Page(HTMLParser):
    """Tags in order, all attributes, text; fails where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.style = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data


def checked(text: str) -> Page:
    """A page that loads nothing, runs nothing, and whose links all lead somewhere."""
    page = Page(text)
    assert not {"script", "img", "link", "iframe", "object", "base", "form"} & set(page.tags)
    assert not re.search(r"url\(|@import", page.style)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r"[a-z0-9-]+", i) for i in ids)
    for tag, name, value in page.attributes:
        assert not name.startswith("on") and name not in ("src", "srcset", "action"), (tag, name)
        if name == "href":
            assert value.removeprefix("#") in ids, value
        if "url(" in value:
            assert re.fullmatch(r"url\(#[a-z0-9]+\)", value), value
    assert any(value.startswith("default-src 'none'") for _, _, value in page.attributes)
    return page


@pytest.mark.parametrize("target", ["torch", "triton"])
@pytest.mark.parametrize("name", ["tensorised", "axial", "grassmann", "embedding", "flora"])
def test_examples_give_pages_that_stand_alone(name: str, target: str) -> None:
    compiled = tl.compile(EXAMPLES / f"{name}.tl", target=target)
    explained = [explain_compiled(compiled, layer) for layer in compiled.roots]
    page = checked(to_page(explained))
    for e in explained:
        assert all(row.name in page.text and row.how in page.text for row in e.rows)
        assert all(rule.what in page.text for rule in e.stages.applied)
        assert all(p.name in page.text for p in e.parameter_table)
    assert page.tags.count("svg") >= len(explained)


def test_plans_costs_and_graphs_are_there() -> None:
    layer = tl.load(EXAMPLES / "tensorised.tl").CPLinear(rank=36)
    e = tl.explain(layer, X=(9, 64))
    page = checked(e.to_html())
    assert page.tags.count("svg") == 2  # before and after
    for choice in e.parts[0].regimes:
        assert choice.when in page.text and all(tree in page.text for tree in choice.trees)
    assert page.text.count("← these sizes") == 2  # in training, and with kept weights
    assert "flips at batch = 2,048" in page.text
    assert "Graph before the rewrites" in page.text and "K flops" in page.text
    assert "output Y[..., o] = X[..., i] * W[o, i] + bias[o]" in page.text


def test_the_order_that_is_best_counts_in_the_graphs(tmp_path: Path) -> None:
    text = """
layer L(i = 8, r = 2, o = 8):
    input  X[n, i]
    param  A[i, r], B[r, o] ~ kaiming
    output Y[n, o] = X[n, i] * A[i, r] * B[r, o]
"""
    path = tmp_path / "chain.tl"
    path.write_text(text)
    page = checked(tl.explain(tl.load(path).L(), X=(3, 8)).to_html())
    assert f"Graph: {2 * 3 * 8 * 2 * 2} FLOPs" in page.text


def test_hostile_text_is_text(tmp_path: Path) -> None:
    path = tmp_path / "a<b>&'.tl"
    path.write_text(HOSTILE)
    compiled = tl.compile(path)
    made = to_page([explain_compiled(compiled, "L", {"X": (2, 4)})])
    page = checked(made)
    assert "<script" not in made and "<img" not in made
    assert 'word: str = "</style><script>alert(2)</script>"' in page.text
    assert """</title><img src=x onerror=alert(3)> & 'quoted' "text\"""" in page.text
    assert '# <script src="https://example.com/x.js"></script>' in page.text
    assert "a<b>&'.tl" in page.text and "Wα" in page.text
    outside = made.replace("https://example.com", "")
    assert "http" not in outside.replace("http-equiv", "")


def test_the_command_writes_it(tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    arguments = ["explain", str(EXAMPLES / "axial.tl"), "--html", str(out)]
    assert CliRunner().invoke(tensorlang, arguments).exit_code == 0
    page = checked(out.read_text(encoding="utf-8"))
    for layer in ("AxialAttention", "AxialBlock", "AxialPair"):
        assert layer in page.text


def test_two_pages_of_one_spec_are_the_same() -> None:
    pages = []
    for _ in range(2):
        compiled = tl.compile(EXAMPLES / "axial.tl")
        pages.append(to_page([explain_compiled(compiled, name) for name in compiled.roots]))
    assert pages[0] == pages[1]
