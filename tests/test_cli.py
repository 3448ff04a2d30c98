"""The command line: every command on real files, its output in a pipe, its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tensorlang.cli import tensorlang
from tensorlang.driver import STAGES
from tests.example_cases import EXAMPLES

AXIAL = str(EXAMPLES / "axial.tl")
WRONG = "layer L(d = 4):\n    input X[n, d]\n    output Y[n, d] = X + Z\n"


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(tensorlang, list(arguments))


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    path = tmp_path / "wrong.tl"
    path.write_text(WRONG)
    return str(path)


@pytest.mark.parametrize("target", ["torch", "triton"])
@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.tl")), ids=lambda path: path.stem)
def test_compile_with_no_other_option_works_for_every_example(
    example: Path, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = _run("compile", str(example), "--target", target)
    assert result.exit_code == 0, result.output
    written = (tmp_path / f"{example.stem}_{target}.py").read_text()
    compile(written, example.stem, "exec")
    assert "import tensorlang" not in written


def test_two_compilations_in_two_processes_give_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for seed in ("1", "2"):
        out = tmp_path / f"{seed}.py"
        command = [sys.executable, "-m", "tensorlang", "compile", AXIAL, "-o", str(out)]
        subprocess.run(command, check=True, env={"PYTHONHASHSEED": seed, "PATH": ""})
        made.append(out.read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "kernels"])
def test_every_stage_prints(stage: str) -> None:
    result = _run("compile", AXIAL, "--emit", stage, "--layer", "AxialAttention", "-o", "-")
    assert result.exit_code == 0, result.output
    assert len(result.stdout) > 200


def test_kernels_print_for_triton_and_are_refused_for_torch() -> None:
    assert _run("compile", AXIAL, "--emit", "kernels", "--target", "triton").exit_code == 0
    refused = _run("compile", AXIAL, "--emit", "kernels")
    assert refused.exit_code == 2
    assert "--target triton" in refused.stderr


def test_a_wrong_spec_is_exit_code_1_with_text_on_stderr(wrong: str) -> None:
    for command in ("compile", "check", "run", "explain", "verify", "graph"):
        result = _run(command, wrong)
        assert result.exit_code == 1, command
        assert result.stderr.startswith(f"{wrong}:3:26: error[E0201]")
        assert result.stdout == ""


def test_diagnostics_as_json_go_to_stdout(wrong: str) -> None:
    result = _run("check", wrong, "--format", "json")
    assert result.exit_code == 1
    (found,) = json.loads(result.stdout)
    assert (found["code"], found["line"], found["column"]) == ("E0201", 3, 26)
    assert result.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["compile", "nowhere.tl"],
        ["compile", AXIAL, "--target", "fortran"],
        ["compile", AXIAL, "--emit", "nothing"],
        ["compile", AXIAL, "--bind", "z=3"],
        ["compile", AXIAL, "--bind", "d"],
        ["compile", AXIAL, "--bind", "d=1)\n"],
        ["compile", AXIAL, "--layer", "Nothing"],
        ["compile", AXIAL, "--without", "nothing"],
        ["compile", AXIAL, "--range", "n=5"],
        ["compile", AXIAL, "--memory", "lots"],
        ["compile", AXIAL, "--dtype", "float13"],
        ["compile", AXIAL, "--check", "sm_90"],
        ["compile", AXIAL, "--target", "triton", "-o", "-", "--check", "sm_12"],
        ["run", AXIAL],
        ["run", AXIAL, "--layer", "AxialAttention", "Z=1,2"],
        ["run", AXIAL, "--layer", "AxialAttention", "X=1,2"],
        ["explain", AXIAL, "X=1,2,3,256"],
        ["graph", AXIAL],
    ],
    ids=lambda arguments: " ".join(arguments[:1] + arguments[2:]).replace("\n", "\\n"),
)
def test_a_wrong_command_is_exit_code_2_and_says_why(arguments: list[str]) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert "Error: " in result.stderr


SMALL = "layer L(d = 2):\n    input X[n, d], i[n]: int\n    output Y[n, d] = X * i\n"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a spec and files that are no specs."""
    monkeypatch.chdir(tmp_path)
    Path("small.tl").write_text(SMALL)
    Path("binary.tl").write_bytes(b"layer L():\n\xff\xfe\x1b[31m\n")
    Path("empty.tl").write_text("")
    Path("folder.tl").mkdir()
    np.save("i.npy", np.arange(3))
    np.save("complex.npy", np.ones((3, 2), complex))
    np.save("objects.npy", np.array([None, 1], dtype=object))
    Path("none.npy").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    "command", ["check", "compile", "run", "explain", "fmt", "graph", "verify"]
)
@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("missing.tl", 2, "does not exist"), ("folder.tl", 2, "is a directory"),
        ("binary.tl", 1, "binary.tl:2:1: error[E0111]"), ("empty.tl", 1, "error[E01"),
    ],
)  # fmt: skip
def test_files_that_are_no_specs(
    command: str, path: str, code: int, says: str, small: Path
) -> None:
    result = _run(command, path)
    assert result.exit_code == code and says in result.stderr, result.stderr
    assert "\x1b" not in result.stderr and result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("compile small.tl -o small.tl", "nothing is written over specs"),
        ("explain small.tl --html small.tl", "nothing is written over specs"),
        ("graph small.tl -o other.tl", "nothing is written over specs"),
        ("compile small.tl -o none/x.py", "none/x.py: No such file or directory"),
        ("compile small.tl -o folder.tl/..", "Is a directory"),
        ("compile small.tl --bind d", "--bind takes [LAYER.]NAME=VALUE"),
        ("compile small.tl --bind d=" + 5000 * "(", "this is no value of the language"),
        ("compile small.tl --bind d=__import__('os')", "this is no value of the language"),
        ("compile small.tl --bind e=3", "no layer has a hyperparameter e"),
        ("compile small.tl --range m=1:8", "a range is given for m; the dims are d, n"),
        ("compile small.tl --target cuda", "there is no target 'cuda'; there are torch, triton"),
        ("check small.tl --format xml", "'xml' is not one of 'text', 'json'"),
        ("run small.tl X=-1,2 i=1", "a shape is given as NAME=SIZE,SIZE,..., not 'X=-1,2'"),
        ("run small.tl X=1000000000000,2 i=1000000000000", "not enough memory"),
        ("run small.tl X=complex.npy i=i.npy", "X is real, the file has complex128"),
        ("run small.tl X=3,2 i=objects.npy", "objects.npy is no .npy file of numbers"),
        ("run small.tl X=3,2 i=none.npy", "none.npy is no .npy file of numbers"),
        ("run small.tl X=3,2 i=missing.npy", "there is no file missing.npy"),
        ("run small.tl --seed -1", "-1 is not in the range"),
    ],
)
def test_wrong_requests_say_what_is_wrong(arguments: str, says: str, small: Path) -> None:
    result = _run(*arguments.split(" "))
    assert result.exit_code == 2 and says in result.stderr, result.output
    assert len(result.stderr) < 1000
    assert Path("small.tl").read_text() == SMALL


def test_fmt_writes_unix_line_ends_and_no_mark(small: Path) -> None:
    Path("windows.tl").write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert _run("fmt", "--check", "windows.tl").exit_code == 1
    assert _run("fmt", "windows.tl").exit_code == 0
    written = Path("windows.tl").read_bytes()
    assert written.decode() == _run("fmt", "--stdout", "small.tl").stdout
    assert _run("fmt", "--check", "windows.tl").exit_code == 0 and b"\r" not in written


def test_bind_takes_values_as_the_language_writes_them(tmp_path: Path) -> None:
    grassmann = str(EXAMPLES / "grassmann.tl")
    out = str(tmp_path / "out.npz")
    result = _run(
        "run", grassmann, "--layer", "GrassmannMixing", "--bind", "offsets=[1, 3]", "--bind",
        "GrassmannMixing.d=2^3", "--bind", "r=4", "H=2,5,8", "-o", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert np.load(out)["G"].shape == (2, 5, 8)


def test_run_reads_arrays_and_agrees_with_the_reference(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((4, 2)))
    np.save(tmp_path / "s.npy", np.random.default_rng(1).standard_normal((9, 2)))
    kde = str(EXAMPLES / "kernel_density.tl")
    arrays = [f"X={tmp_path}/x.npy", f"S={tmp_path}/s.npy"]
    results = []
    for extra in ([], ["--reference"]):
        out = str(tmp_path / f"out{len(extra)}.npz")
        assert _run("run", kde, *arrays, "-o", out, *extra).exit_code == 0
        results.append(np.load(out)["L"])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4)


def test_explain_and_verify_say_what_they_found() -> None:
    explained = _run("explain", AXIAL, "--layer", "AxialAttention", "X=2,64,256")
    assert explained.exit_code == 0
    assert "flops" in explained.stdout
    data = json.loads(_run("explain", AXIAL, "--format", "json").stdout)
    assert [layer["layer"] for layer in data] == ["AxialAttention", "AxialBlock", "AxialPair"]
    verified = _run("verify", str(EXAMPLES / "norms.tl"), "--bind", "d=5")
    assert verified.exit_code == 0, verified.output
    assert "WRONG" not in verified.stdout


def test_fmt_checks_writes_and_keeps_comments(tmp_path: Path) -> None:
    path = tmp_path / "layer.tl"
    path.write_text("layer L(d=4):  # four\n  input X[n,d]\n  output Y[n,d]=X*2\n")
    assert _run("fmt", "--check", str(path)).exit_code == 1
    assert _run("fmt", str(path)).exit_code == 0
    assert "# four" in path.read_text()
    assert _run("fmt", "--check", str(path)).exit_code == 0


@pytest.mark.parametrize("form", ["text", "json", "dot", "svg"])
def test_graph_prints_in_every_form(form: str, tmp_path: Path) -> None:
    out = tmp_path / "graph"
    assert _run("graph", AXIAL, "-l", "AxialPair", "--as", form, "-o", str(out)).exit_code == 0
    assert out.read_text()


@pytest.mark.parametrize("command", sorted(tensorlang.commands))
def test_help_shows_an_example(command: str) -> None:
    result = _run(command, "--help")
    assert result.exit_code == 0
    assert f"tensorlang {command} " in result.output


def test_run_supplies_given_params_of_sub_layers(tmp_path: Path) -> None:
    spec = tmp_path / "nested.tl"
    spec.write_text(
        "layer Inner(d = 3):\n    input  X[b, d]\n    param  W[d, d'] ~ given\n"
        "    output Y[b, d] = X[b, d'] * W[d, d']\n"
        "layer Outer(d = 3):\n    input  X[b, d]\n    sub    f = Inner(d)\n"
        "    output Y[b, d] = f(X)\n"
    )
    weight, x = np.arange(9.0).reshape(3, 3), np.arange(6.0).reshape(2, 3)
    for name, array in (("W", weight), ("X", x), ("wide", np.ones((3, 4)))):
        np.save(tmp_path / f"{name}.npy", array)
    file, out = str(tmp_path / "W.npy"), str(tmp_path / "out.npz")
    call = ("run", str(spec), "--layer", "Outer", f"X={tmp_path / 'X.npy'}", "-o", out)
    result = _run(*call, f"f.W={file}")
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(np.load(out)["Y"], x @ weight.T)
    for arguments, says in (
        ((), "param f.W is ~ given: supply it as f.W=FILE.npy"),
        ((f"f.V={file}",), "there is no param f.V; there are f.W"),
        ((f"f.W={tmp_path / 'wide.npy'}",), "f.W has shape (3, 3), the file has (3, 4)"),
    ):
        result = _run(*call, *arguments)
        assert result.exit_code == 2 and says in result.stderr, result.output
