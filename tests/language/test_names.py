"""Section 12, Names; compiler.md 8: whatever a spec calls things, and whatever it says in strings."""

from __future__ import annotations

import copy
import inspect
import pickle
from pathlib import Path

import pytest
import sympy
import torch

import tensorlang as tl
from tensorlang.check.names import user_of
from tensorlang.check.spec import spec_of_text
from tensorlang.module import LoadedSpec
from tensorlang.options import Options
from tensorlang.size import expression
from tests.language.street import agree, codes, layer, source, spec, warm

PYTHON = (
    "self", "cls", "torch", "nn", "F", "math", "base64", "functools", "Callable", "Tensor", "LAYERS",
    "lambda", "class", "None", "True", "False", "super", "object", "list", "range", "zip", "match",
    "type", "compile", "__x", "_1", "_", "__", "___", "device", "dtype", "form", "batch", "batch_size",
    "lambda_", "n_", "_check_shape", "_check_index", "_like", "_kept", "_spec", "_options", "_layer",
    "version", "backward_hooks", "forward_hooks", "get_name", "program", "compiled", "given", "weights",
    "size", "sizes", "rows", "tensors", "Z_term", "L_C", "_L_C", "α", "Ω", "annotations", "tensorlang",
    "E", "I", "N", "S", "Symbol", "beta", "__import__", "print", "graph",
)  # fmt: skip
KINDS = {
    "input": "input NAME[a, b]; param W[b, d] ~ normal; dim b = 3, d = 2;"
    "U[a, d] = gelu(NAME * W) + sum[b](NAME * b); output Z[a, d] = U * U",
    "param": "input X[a, b]; param NAME[b, d] ~ normal; dim b = 3, d = 2;"
    "output Z[a, d] = gelu(X * NAME) * 2",
    "factors": "input X[a, b]; param NAME[b, d] ~ normal as lowrank(1); dim b = 3, d = 2;"
    "const C[b] = [0.5, 2, 1]; output Z[a, d] = gelu(X * NAME * C)",
    "factor axis": "input X[a, NAME]; param W[NAME, d] ~ normal as lowrank(1); dim NAME = 3, d = 2;"
    "output Z[a, d] = gelu(X * W)",
    "const": "input X[a, b]; param W[b, d] ~ normal; const NAME[b] = cos(1 + b) * 0.3; dim b = 3, d = 2;"
    "output Z[a, d] = gelu(X * W * NAME)",
    "tensor": "input X[a, b]; param W[b, d] ~ normal; dim b = 3, d = 2; NAME[a, d] = gelu(X * W) * 2;"
    "output Z[a, d] = NAME * NAME + sum[d'](NAME[a, d'] * d')",
    "output": "input X[a, b]; param W[b, d] ~ normal; dim b = 3, d = 2;"
    "output NAME[a, d] = gelu(X * W) * 2; output Z[a, d] = NAME * NAME",
    "dim": "input X[a, NAME]; param W[NAME, d] ~ normal; dim NAME = 3, d = 2;"
    "output Z[a, d] = gelu(X * W) * |NAME| + sum[NAME](NAME * X)",
    "size": "input V[NAME, NAME'], X[NAME, b]; output Z[NAME, b] = V[NAME, NAME'] * X[NAME', b] + NAME * |NAME|",
    "group": "input V[NAME], X[(NAME b)]; output Z[b, NAME] = V[NAME] * X[(NAME b)] * |b|",
    "sub": "layer K(d):\n    input X[..., d]\n    param W[d, d'] ~ normal\n"
    "    output Y[..., d] = X[..., d'] * W\nlayer L():\n    input X[a, b]\n    dim b = 3\n"
    "    sub NAME[2] = K(3)\n    sub last = K(3)\n    output Z[a, b] = last[d = b](NAME[d = b](X) + 1)\n",
    "layer": "layer NAME(d):\n    input form[..., d]\n    param W[d, d'] ~ normal\n    const C[d] = [1, 2, 4]\n"
    "    output Y[..., d] = cos(form[..., d'] * W) * C\nlayer Top():\n    input X[a, b]\n    dim b = 3\n"
    "    sub f = NAME(3)\n    output Z[a, b] = f[d = b](X) + 1\n",
    "root": "layer NAME(d = 3):\n    input X[a, d]\n    param W[d, d'] ~ normal\n"
    "    const C[d] = cos(d) * 0.1\n    output Y[a, d'] = cos(X * W) * C[d']\n",
    "hyper": "layer L(NAME = 3):\n    input X[a, d]\n    dim d = NAME\n    param W[d, d'] ~ normal\n"
    "    output Y[a, d'] = cos(X * W) * |d|\n",
}  # fmt: skip
INPUTS = {"size": [warm(3, 3), warm(3, 3)], "group": [warm(3), warm(6)]}


def refused(kind: str, name: str) -> list[str]:
    """Codes of what is said about names that somebody else needs."""
    if name == "__import__" and kind in ("layer", "root"):
        return ["E0204"]
    if kind == "hyper" and name in ("device", "dtype"):
        return ["E0213"]
    needed = ("type", "compile", "_like", "_spec", "_options", "_layer", "__import__", "graph")
    python = ("lambda", "class", "None", "True", "False", "self")
    if name in needed and kind in ("param", "factors", "factor axis", "const", "sub"):
        return ["E0205"]
    if name in python and kind in ("param", "factors", "factor axis", "sub"):
        return ["E0205"]
    return []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PYTHON)
def test_any_name_will_do(kind: str, name: str) -> None:
    text = KINDS[kind].replace("NAME", name)
    found = codes(text)
    assert found == refused(kind, name)
    if found:
        return
    inputs = INPUTS.get(kind, [warm(3, 3)])
    agree(text, inputs, slopes=kind != "size")
    made = layer(text)
    for twin in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert list(twin.state_dict()) == list(made.state_dict())


TRACED = ("class", "self", "torch", "F", "__x", "α", "L_C", "code")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TRACED)
def test_modules_with_any_name_are_compiled_and_exported(kind: str, name: str) -> None:
    text = KINDS[kind].replace("NAME", name)
    if codes(text):
        assert codes(text) == ["E0205"]
        assert name in ("class", "self", "code")
        return
    made, inputs = layer(text), INPUTS.get(kind, [warm(3, 3)])
    want = made(*inputs)
    torch._dynamo.reset()
    compiled = torch.compile(made, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs), want)
    exported = torch.export.export(made, tuple(inputs))
    torch.testing.assert_close(exported.module()(*inputs), want)


def test_names_of_modules_are_those_of_this_torch() -> None:
    for kind in (torch.nn.Module, torch.fx.GraphModule):
        for name in dir(kind):
            ours = user_of(name, by_its_name=True) is not None
            assert ours or name.startswith("___"), name  # three: dynamo leaves marks


@pytest.mark.parametrize(
    "name", ["lambda", "self", "cls", "None", "args", "kwargs", "made", "more"]
)
def test_hyperparameters_of_any_name_are_given_by_keyword(name: str) -> None:
    loaded = spec(f"input X[n, d]; dim d = {name}; output Y[n, d] = X * |d|", f"{name}: int = 2")
    made = loaded.L(**{name: 3})
    assert torch.equal(made(torch.ones(1, 3)), torch.full((1, 3), 3.0))
    assert "dtype" in inspect.signature(loaded.L).parameters


def test_constructors_are_described() -> None:
    text = "input X[n, d]; param W[d] ~ given; dim d = more; output Y[n, d] = X * W"
    loaded = spec(text, "more = 2, lambda: int = 2")
    assert (
        str(inspect.signature(loaded.L)) == "(*, more=2, W=None, device=None, dtype=None, **_more)"
    )


@pytest.mark.parametrize(
    "name", ["forward", "training", "to", "_apply", "__init__", "reset_parameters", "graph"]
)
def test_names_of_modules_are_refused_for_what_is_stored(name: str) -> None:
    assert codes(f"input X[n]; param {name} ~ ones; output Y[n] = X * {name}") == ["E0205"]
    assert codes(f"input {name}[n]; output Y[n] = 2 * {name}") == []
    assert codes(f"layer {name}():\n    input X[n]\n    output Y[n] = 2 * X\n") == (
        ["E0204"] if name == "__init__" else []
    )


def test_reserved_names_and_collisions() -> None:
    for name in ("pi", "inf", "exp", "softmax", "output", "at", "wrap", "len", "grad", "in", "fft"):
        code = "E0116" if name in ("output", "in") else "E0204"  # a word of the grammar
        for text in (
            f"input {name}[n]; output Y[n] = 1 + n", f"input X[n]; output {name}[n] = X",
            f"input X[n]; dim {name} = 3; output Y[n] = X", f"input X[{name}]; output Y[] = 1",
        ):  # fmt: skip
            assert codes(text) == [code], text
    for text in (
        "input X[n], X[m]; output Y[n] = X", "input X[X]; output Y[X'] = 1", "input n[n]; output Y[n] = 1",
        "input X[n]; param X[n] ~ ones; output Y[n] = X", "input X[n]; output X[n] = 1 + n",
        "input X[n]; index X in n; output Y[n] = X", "input A[d]; dim d = 2, d = 3; output Y[d] = A",
    ):  # fmt: skip
        assert "E0202" in codes(text), text
    assert "E0202" in codes("input d[n]; output Y[n] = d", "d = 3")


def test_names_are_compared_after_nfkc() -> None:
    agree("input \u00b5[n]; output Y[n] = 2 * \u03bc", [warm(3)], lambda x: 2 * x)
    agree(
        "input λ[n, ν]; param Γ[ν, ω] ~ normal; dim ν = 3, ω = 2; output Σ[n, ω] = λ * Γ",
        [warm(4, 3)],
        lambda x, p: x @ p["Γ"],
    )
    assert codes("input \u00b5[n], \u03bc[n]; output Y[n] = 1 + n") == ["E0202"]


HOSTILE = (
    "{text}", "'''", "it's", 'say "yes"', 'ends in a quote"', "%s %d {0} {text!r}", "# no comment",
    "$(touch /tmp/x)", "f{1+1}", "\u2028 \u202e \u00a0", "tab\there", "\x0c", "é 日本", "'", "''", "{", "N",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_docstrings_and_strings_reach_the_file_as_text(text: str) -> None:
    doc = f'layer L():\n    """{text}\n\n    More: {text} .\n    """\n    input X[n]\n    output Y[n] = X\n'
    if "\u2028" in text or "\x0c" in text:
        assert codes(doc) == ["E0102"]
        return
    assert text.strip().expandtabs() in (layer(doc).__doc__ or "")


@pytest.mark.parametrize("text", HOSTILE)
def test_strings_as_hyperparameters(text: str) -> None:
    lines = f'layer L(mode = "{text}"):\n    input X[n]\n    output Y[n] = X\n'
    if '"' in text or "\u2028" in text or "\x0c" in text:
        assert codes(lines)[0].startswith("E01")
    else:
        assert torch.equal(layer(lines)(torch.ones(2)), torch.ones(2))


def test_no_escapes_in_strings_and_docstrings() -> None:
    assert codes('layer L():\n    """a \\" b"""\n    output Y[] = 1\n') == ["E0108"]
    assert codes('layer L(s = "a\\n"):\n    output Y[] = 1\n') == ["E0108"]


def test_nothing_of_a_spec_is_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    code = f"__import__('pathlib').Path('{mark}').touch()"
    path = tmp_path / f"a' + {code.replace('/', '_')} + '.tl"
    path.write_text(
        f'layer L(s = "{code}"):\n    """{code}"""\n    input X[n]  # {code}\n    output Y[n] = X\n'
    )
    made = tl.load(path).L()
    made(torch.ones(3))
    tl.reference(made)(torch.ones(3))
    tl.compile(path).write(tmp_path / "out.py")
    compile((tmp_path / "out.py").read_text(), "out", "exec")
    exec((tmp_path / "out.py").read_text(), {"__name__": "x"})
    tl.load(path).L(s=f'"""\n{code}\n"""')
    assert not mark.exists()


def test_sizes_are_never_read_from_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(("evaluated", args))

    monkeypatch.setattr("sympy.parsing.sympy_parser.parse_expr", refuse)
    with pytest.raises(AssertionError, match="evaluated"):
        sympy.sympify("2 * n")
    with pytest.raises(sympy.SympifyError):
        expression("2 * n")  # type: ignore[arg-type]
    for name in ("E", "I", "__import__", "lambda", "print"):
        agree(
            f"input V[{name}], W[{name}2], X[({name} {name}2 b)]; dim {name}3 = |{name}| * |{name}2|;"
            f"output Z[{name}, b] = sum[{name}2](X[({name} {name}2 b)] * W) * V * |b| / |{name}3|",
            [warm(3), warm(2), warm(12)],
            lambda v, w, x: torch.einsum("v,w,vwb->vb", v, w, x.reshape(3, 2, 2)) * 2 / 6,
        )
    for call in ("max(s, 2)", "s // 2", "2 ^ s", "d * s", "len(s)"):
        assert codes(f"input X[d]; dim c = {call}; output Y[d] = X", 'd = 3, s = "__import__"')


@pytest.mark.parametrize(
    "number", ["1e400", "1e-400", "99999999999999999999", "0x10", "1_000", "1j", "--", "1e"]
)
def test_numbers_that_are_none(number: str) -> None:
    assert codes(f"input X[n]; output Y[n] = X * {number}")[0].startswith("E01")


def test_long_and_deep_texts() -> None:
    many = " + ".join(["X"] * 500)
    agree(f"input X[n]; output Y[n] = {many}", [warm(3)], lambda x: 500 * x)
    many = " * ".join(["(1 + 0 * X)"] * 200)
    agree(f"input X[n]; output Y[n] = {many}", [warm(3)])
    deep = "(" * 90 + "X" + ")" * 90
    agree(f"input X[n]; output Y[n] = {deep}", [warm(3)], lambda x: x * 1)
    deep = "sin(" * 90 + "X" + ")" * 90
    agree(f"input X[n]; output Y[n] = {deep}", [warm(3)])
    deep = "sin(" * 5000 + "X" + ")" * 5000
    assert codes(f"input X[n]; output Y[n] = {deep}")[0].startswith("E01")
    chain = ";".join(f"A{k + 1}[n] = sin(A{k}) + A{k}" for k in range(150))
    agree(f"input A0[n]; {chain}; output Y[n] = A150", [warm(3)])
    ternary = "X if n == 0 else " * 60 + "0"
    agree(f"input X[n]; output Y[n] = {ternary}", [warm(3)])
    long = "a" * 3000
    agree(f"input {long}[n]; output Y[n] = {long} * 2", [warm(3)], lambda x: 2 * x)


def test_comments_blanks_line_ends_and_marks() -> None:
    text = source("input X[n]; output Y[n] = X * 2")
    for twin in (
        "\ufeff" + text, text.replace("\n", "\r\n"), "\n\n# c\n" + text.replace("\n", "  # c\n\n"),
        text.rstrip("\n"), text.replace("X * 2", "(\n# c\n  X\n*\n2\n)"),
    ):  # fmt: skip
        made = LoadedSpec(spec_of_text(twin), Options()).L()
        assert torch.equal(made(torch.ones(2)), torch.full((2,), 2.0))
    assert codes("layer L():\n\tinput X[n]\n\toutput Y[n] = X\n")[0].startswith("E01")
