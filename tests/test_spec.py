"""Specs: what `use` brings, what it refuses, and what a scope sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from tensorlang.check.spec import load_spec, spec_of_text, standard_library
from tensorlang.diagnostics import Diagnostic, SpecError

LAYER = "layer {}():\n    input X[n]\n    output Y[n] = X\n"


def layer(name: str) -> str:
    return LAYER.format(name)


def mistakes(text: str, files: dict[str, str] | None = None) -> list[tuple[str, int, int]]:
    with pytest.raises(SpecError) as caught:
        spec_of_text(text, "root.tl", files or {})
    return [_place(d) for d in caught.value.diagnostics]


def _place(diagnostic: Diagnostic) -> tuple[str, int, int]:
    return type(diagnostic).__name__, diagnostic.span.line, diagnostic.span.column


def test_layers_are_those_of_the_root_in_source_order() -> None:
    spec = spec_of_text(
        'use "a.tl": A\n' + layer("Z") + layer("B"), files={"a.tl": layer("A") + layer("C")}
    )
    assert list(spec.layers) == ["Z", "B"]
    assert set(spec.scope.layers) == {"A", "B", "Z"}
    assert [source.path for source in spec.sources] == ["<spec>.tl", "a.tl"]


def test_a_scope_is_that_of_the_file_where_a_layer_is_written() -> None:
    files = {
        "lib/a.tl": 'use "b.tl": f\ndef g(x) = f(x)\n' + layer("A"),
        "lib/b.tl": "def f(x) = x\n",
    }
    spec = spec_of_text('use "lib/a.tl": A\ndef f(x) = 2 * x\n' + layer("B"), files=files)
    inner, outer = spec.scope.layers["A"].scope, spec.scope
    assert set(inner.defs) == {"f", "g"} and set(outer.defs) == {"f"}
    assert inner.defs["f"].ast is not outer.defs["f"].ast
    assert "B" not in inner.layers


def test_use_is_not_transitive() -> None:
    files = {"a.tl": 'use "b.tl": f\n' + layer("A"), "b.tl": "def f(x) = x\n"}
    assert mistakes('use "a.tl": f\n' + layer("B"), files) == [("UseUnknownName", 1, 13)]


def test_a_file_is_read_once() -> None:
    files = {"a.tl": 'use "c.tl": f\n' + layer("A"), "c.tl": "def f(x) = x\n"}
    spec = spec_of_text('use "a.tl": A\nuse "./c.tl": f\n' + layer("B"), files=files)
    assert [source.path for source in spec.sources] == ["<spec>.tl", "a.tl", "c.tl"]
    assert spec.scope.defs["f"] is spec.scope.layers["A"].scope.defs["f"]


def test_the_hash_is_that_of_all_sources() -> None:
    files = {"a.tl": layer("A")}
    root = 'use "a.tl": A\n' + layer("B")
    one = spec_of_text(root, "x.tl", files)
    assert one.content_hash == spec_of_text(root, "y.tl", files).content_hash
    assert len(one.content_hash) == 64
    changed = spec_of_text(root, "x.tl", {"a.tl": layer("A") + "# c\n"})
    assert one.content_hash != changed.content_hash


def test_the_standard_library_is_one_module() -> None:
    module, sources = standard_library()
    assert all(source.path.startswith("std/") for source in sources)
    assert {"rmsnorm", "layernorm"} <= set(module.defs)
    spec = spec_of_text("use std: rmsnorm\n" + layer("A"))
    assert set(spec.scope.defs) == {"rmsnorm"}


@pytest.mark.parametrize(
    ("text", "files", "found"),
    [
        ('use "/a.tl": A\n', {}, [("UseRefused", 1, 5)]),
        ('use "C:/a.tl": A\n', {}, [("UseRefused", 1, 5)]),
        ('use "../a.tl": A\n', {"../a.tl": layer("A")}, [("UseRefused", 1, 5)]),
        ('use "x/../../a.tl": A\n', {}, [("UseRefused", 1, 5)]),
        ('use "nowhere.tl": A\n', {}, [("UseRefused", 1, 5)]),
        ("use torch: A\n", {}, [("UseRefused", 1, 5)]),
        ('use "root.tl": B\n', {}, [("UseCycle", 1, 5)]),
        ("use std: rmsnrom, layernorm\n", {}, [("UseUnknownName", 1, 10)]),
        ("use std: rmsnorm\nuse std: rmsnorm\n", {}, [("NameTaken", 2, 10)]),
        ("def B(x) = x\n", {}, [("NameTaken", 2, 7)]),
        ('use "a.tl": B\n', {"a.tl": layer("B")}, [("NameTaken", 2, 7)]),
        ('use "a.tl": A\n', {"a.tl": 'use "root.tl": B\n' + layer("A")}, [("UseCycle", 1, 5)]),
        ('use "a.tl": A\nuse "a.tl": C\n', {"a.tl": "layer A(\n"}, [("UnclosedBracket", 1, 8)]),
    ],
)
def test_mistakes(text: str, files: dict[str, str], found: list[tuple[str, int, int]]) -> None:
    assert mistakes(text + layer("B"), files) == found


def test_a_close_name_is_proposed() -> None:
    with pytest.raises(SpecError) as caught:
        spec_of_text("use std: rmsnrom\n" + layer("A"))
    assert caught.value.diagnostics[0].help() == "did you mean rmsnorm?"


def test_mistakes_of_all_files_are_reported() -> None:
    files = {"a.tl": layer("A") + "    X X\n", "b.tl": layer("A") + "    X X\n"}
    found = mistakes('use "a.tl": A\nuse "b.tl": B\nuse "c.tl": C\n' + layer("B"), files)
    assert [name for name, _, _ in found] == ["UnexpectedToken", "UnexpectedToken", "UseRefused"]


# --- files on disk -------------------------------------------------------------------------------
def test_files(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "root.tl").write_bytes(
        b'\xef\xbb\xbfuse "lib/a.tl": A\r\n' + layer("B").replace("\n", "\r\n").encode()
    )
    (tmp_path / "lib" / "a.tl").write_text('use "../c.tl": f\n' + layer("A"))
    (tmp_path / "c.tl").write_text("def f(x) = x\n")
    spec = load_spec(tmp_path / "root.tl")
    assert [source.path for source in spec.sources] == [
        str(tmp_path / name) for name in ("root.tl", "lib/a.tl", "c.tl")
    ]
    assert "\r" not in spec.sources[0].text
    with pytest.raises(FileNotFoundError):
        load_spec(tmp_path / "nowhere.tl")


def test_links_do_not_lead_outside(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.tl").write_text(layer("A"))
    (inside / "link.tl").symlink_to(tmp_path / "secret.tl")
    (inside / "folder").symlink_to(tmp_path)
    (inside / "loop.tl").symlink_to(inside / "loop.tl")
    (inside / "own.tl").write_text(layer("A"))
    (inside / "good.tl").symlink_to(inside / "own.tl")
    for path in ("link.tl", "folder/secret.tl", "loop.tl", "."):
        (inside / "root.tl").write_text(f'use "{path}": A\n' + layer("B"))
        with pytest.raises(SpecError) as caught:
            load_spec(inside / "root.tl")
        assert [_place(d) for d in caught.value.diagnostics] == [("UseRefused", 1, 5)]
    (inside / "root.tl").write_text('use "good.tl": A\n' + layer("B"))
    assert set(load_spec(inside / "root.tl").scope.layers) == {"A", "B"}


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "root.tl").write_bytes("# é".encode() + b"\xff\xfe\n")
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "root.tl")
    assert [_place(d) for d in caught.value.diagnostics] == [("NotText", 1, 4)]
    (tmp_path / "root.tl").write_text('use "a.tl": A\n' + layer("B"))
    (tmp_path / "a.tl").write_bytes(bytes(range(256)))
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "root.tl")
    assert [type(d).__name__ for d in caught.value.diagnostics] == ["NotText"]
