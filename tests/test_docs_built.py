"""What the documentation shows of the compiler is what it prints now: if not, run `make docs`."""

from __future__ import annotations

import re

import pytest

from docs.build import PAGES, PARTS, ROOT, built, spliced


@pytest.mark.parametrize("path", [*PAGES, *PARTS])
def test_a_page_is_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text() == built(path), f"{path} is out of date: run make docs"


def test_code_that_is_only_shown_is_generated() -> None:
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("grammar/*.md")):
        if str(page.relative_to(ROOT)) in PAGES:
            continue
        by_hand = re.sub(r"<!-- ([\w ]+) -->.*?<!-- end \1 -->", "", page.read_text(), flags=re.S)
        assert "```py\n" not in by_hand, f"{page.name}: python blocks by hand are run"


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *ROOT.glob("docs/*.md")):
        prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.S | re.M)
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)[^)]*\)", prose):
            assert (page.parent / target).exists(), f"{page.name}: no {target}"


def test_splicing_needs_both_marks_once() -> None:
    assert spliced("a <!-- x -->\nold<!-- end x --> b", "x", "new\n").count("new") == 1
    with pytest.raises(AssertionError, match="marks"):
        spliced("no marks", "x", "new")
