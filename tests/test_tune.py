"""Tune files: candidates and choice with a fake clock, from a file into emitted text, bad files."""

from __future__ import annotations

import ast
import json
import math
import os
import subprocess
import sys
import textwrap
import types
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import tensorlang as tl
from tensorlang.backends.triton.emit import tunable
from tensorlang.backends.triton.kernel_ir import Config
from tensorlang.backends.triton.tuned import Launch, choose, depths, shapes
from tensorlang.backends.triton.validate import problems
from tensorlang.cli import tensorlang
from tensorlang.requests import BadRequest
from tensorlang.tune_file import ANY, Entry, merged, read, to_json
from tensorlang.tuning import entries, medians, runner
from tests.example_cases import EXAMPLES

AXIAL = str(EXAMPLES / "axial.tl")
NORMS = str(EXAMPLES / "norms.tl")


def _launches(name: str) -> dict[str, Launch]:
    compiled = tl.compile(EXAMPLES / f"{name}.tl", "triton")
    return {launch.constant: launch for launch in tunable(compiled.units, compiled.options)}


FORWARD = _launches("axial")["_ATTENTION_0_FORWARD"]
NORM = next(iter(_launches("norms").values()))


def _entry(launch: Launch = FORWARD, **changes: Any) -> Entry:
    key, row = launch.row("half", "hopper")
    assert row is not None
    made = Entry(launch.digest, ("k",), key, "sm_90", "3.9.0", row.blocks, row.warps, row.stages)
    return replace(made, **changes)


def _file(folder: Path, *made: Entry) -> str:
    path = folder / "mine.tune.json"
    path.write_text(to_json(made))
    return str(path)


def _tables(source: str) -> dict[str, Any]:
    """Constants of the module that are literals."""
    out = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict | ast.Tuple):
            name = ast.unparse(node.targets[0])
            if name not in ("KERNELS", "LAYERS"):
                out[name] = ast.literal_eval(node.value)
    return out


# --- candidates ----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["axial", "third_order", "kernel_density", "norms", "equivariant"])
def test_candidates_obey_every_rule_and_start_with_what_is_there(name: str) -> None:
    for launch in _launches(name).values():
        key, present = launch.row("half", "hopper")
        assert present is not None
        for found in (shapes(launch, present, key), depths(launch, present)):
            assert found[0] == present
            assert len(set(found)) == len(found)
            for config in found:
                named = [dict(c.blocks).keys() for c in (config, present)]
                assert named[0] == named[1]
                for kernel in launch.kernels:
                    assert problems(replace(kernel, configs=(config,))) == []


def test_blocks_of_attention_are_halved_and_doubled_but_never_too_small_or_too_large() -> None:
    key, present = FORWARD.row("half", "hopper")
    assert present == Config((("BM", 128), ("BN", 64)), 8, 3)
    found = {config.blocks for config in shapes(FORWARD, present, key)}
    assert (("BM", 64), ("BN", 64)) in found
    assert (("BM", 128), ("BN", 128)) in found
    small = Config((("BM", 16), ("BN", 16)), 4, 1)
    tried = shapes(replace(FORWARD, rows={"half": small}), small, "half")
    assert all(block >= 16 for config in tried for _, block in config.blocks)
    assert {config.stages for config in depths(FORWARD, small)} == {1, 2, 3, 4}


def test_a_row_stays_in_its_block_and_a_fitted_tile_as_the_launch_sets_it() -> None:
    present = NORM.rows[ANY]
    assert present is not None
    assert dict(present.blocks)["BL"] == 64
    assert {dict(c.blocks)["BL"] for c in shapes(NORM, present, ANY)} == {64}
    pairs = _launches("kernel_density")["_MAP_REDUCE_0"]
    key, row = pairs.row("half", "hopper")
    assert row is not None
    assert {c.blocks for c in shapes(pairs, row, key)} == {row.blocks}


# --- choice --------------------------------------------------------------------------------------
def test_the_fastest_wins_blocks_and_warps_first_then_stages() -> None:
    best = Config((("BM", 64), ("BN", 64)), 4, 2)
    asked: list[Sequence[Config]] = []

    def times(candidates: Sequence[Config]) -> list[float]:
        asked.append(candidates)
        return [
            1.0 + (c.blocks != best.blocks) + (c.warps != 4) + abs(c.stages - 2) / 8
            for c in candidates
        ]

    assert choose(FORWARD, "half", "hopper", times) == best
    assert [len({c.stages for c in candidates}) for candidates in asked] == [1, 4]


def test_what_is_there_stays_unless_another_is_faster_by_a_margin() -> None:
    _, present = FORWARD.row("half", "hopper")
    for gain, kept in ((0.99, True), (0.9, False)):
        chosen = choose(
            FORWARD,
            "half",
            "hopper",
            lambda cs, gain=gain: [1.0 if c == present else gain for c in cs],
        )
        assert (chosen == present) == kept


def test_what_cannot_run_is_not_chosen_and_what_torch_computes_not_timed() -> None:
    _, present = FORWARD.row("half", "hopper")
    for other in (False, True):
        chosen = choose(
            FORWARD,
            "half",
            "hopper",
            lambda cs, other=other: [
                1.0 if c.blocks == (("BM", 64), ("BN", 64)) and other else math.inf for c in cs
            ],
        )
        assert (chosen is None) == (not other)
        assert chosen != present
    none = replace(FORWARD, rows={**FORWARD.rows, "half": None})
    assert choose(none, "half", "hopper", lambda cs: pytest.fail("timed")) is None


def test_candidates_take_turns_and_one_slow_round_decides_nothing() -> None:
    one, other, broken = (Config((("BM", 16),), warps) for warps in (1, 2, 4))
    order: list[int] = []

    def run(config: Config) -> float | None:
        order.append(config.warps)
        if config is broken:
            return None
        return 100.0 if len(order) == 5 else float(config.warps)

    assert medians([one, other, broken], run, rounds=3) == [1.0, 2.0, math.inf]
    assert order == [1, 2, 4, 1, 2, 1, 2, 1, 2]


def test_an_entry_is_made_once_for_equal_kernels() -> None:
    def run(launch: Launch, key: str, config: Config) -> float:
        assert (launch, key) == (FORWARD, "half")
        return 1.0 / config.warps

    (made,) = entries([FORWARD, FORWARD], "half", "hopper", run, "sm_90", "3.9.0")
    assert made.kernel == FORWARD.digest
    assert (made.warps, made.arch, made.names) == (8, "sm_90", ("_attention_0_forward",))


class _Event:
    clock = 0.0

    def __init__(self) -> None:
        self.at = _Event.clock

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: _Event) -> float:
        return end.at - self.at


def test_only_the_launches_of_the_kernels_are_timed_and_the_module_is_left_as_it_was() -> None:
    pytest.importorskip("triton")
    emitted: Any = types.ModuleType("emitted")
    table = {"half": ({"BM": 128, "BN": 64}, 8, 3)}
    emitted._ATTENTION_0_FORWARD = table
    seen = []

    def launch(kernel: Any, warps: int) -> None:
        seen.append(warps)
        if warps == 32:
            raise RuntimeError("too many warps")
        _Event.clock += warps

    emitted._launch = launch
    own, foreign = (types.SimpleNamespace(__name__=n) for n in ("_attention_0_forward", "_other"))

    def call() -> None:
        row = emitted._ATTENTION_0_FORWARD["half hopper"]
        for kernel in (own, foreign, own):
            emitted._launch(kernel, row[1])

    run = runner(emitted, call, "hopper", _Event)
    assert run(FORWARD, "half", Config((("BM", 64), ("BN", 64)), 4, 1)) == pytest.approx(8e-3)
    assert run(FORWARD, "half", Config((("BM", 64), ("BN", 64)), 32, 1)) is None
    assert seen == [4, 4, 4, 32]
    assert emitted._launch is launch
    assert emitted._ATTENTION_0_FORWARD is table
    assert run(replace(FORWARD, kernels=()), "half", Config((), 4, 1)) is None


# --- from a file into the text -------------------------------------------------------------------
def test_a_file_gives_a_kernel_its_configuration(tmp_path: Path) -> None:
    path = _file(tmp_path, _entry(blocks=(("BM", 64), ("BN", 64)), warps=4, stages=2))
    (entry,) = read(path)
    plain, tuned = tl.compile(AXIAL, "triton"), tl.compile(AXIAL, "triton", tune=path)
    before, after = _tables(plain.source), _tables(tuned.source)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"_ATTENTION_0_FORWARD"}
    row = ({"BM": 64, "BN": 64}, 4, 2)
    assert after["_ATTENTION_0_FORWARD"] == before["_ATTENTION_0_FORWARD"] | {"half hopper": row}
    assert tuned.source.count('"half hopper"') == 2  # and in the table that is checked
    assert entry.chip == "hopper"
    compile(tuned.source, "tuned", "exec")


def test_the_header_names_the_file_and_its_content(tmp_path: Path) -> None:
    path = _file(tmp_path, _entry())
    header = tl.compile(AXIAL, "triton", tune=path).header
    assert "tune='mine.tune.json:" in header
    assert str(tmp_path) not in header
    _file(tmp_path, _entry(warps=4))
    assert tl.compile(AXIAL, "triton", tune=path).header != header
    assert "tune" not in tl.compile(AXIAL, "triton").header


def test_a_file_that_has_changed_gives_other_classes(tmp_path: Path) -> None:
    made = []
    for warps in (4, 8, 4):
        path = _file(tmp_path, _entry(NORM, warps=warps))
        layer = tl.load(NORMS, target="triton", tune=path).RMSNorm()
        assert f'_ROWS_0 = ({{"BR": 32, "BL": 64}}, {warps}, 1)' in layer._compiled.source
        made.append(type(layer))
    assert made[0] is made[2]
    assert made[0] is not made[1]
    with pytest.raises(BadRequest, match="cannot read the tune file"):
        _ = tl.load(NORMS, target="triton", tune=str(tmp_path / "none.json")).RMSNorm


def test_a_tuned_kernel_computes_the_same_and_its_launches_are_timed(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    assert NORM.rows[ANY] is not None
    path = _file(tmp_path, _entry(NORM, blocks=(("BR", 2), ("BL", 64)), warps=8))
    program = textwrap.dedent("""
        import sys, torch
        import tensorlang as tl
        from tensorlang.backends.triton.emit import tunable
        from tensorlang.backends.triton.kernel_ir import Config
        from tensorlang.tune_file import ANY
        from tensorlang.tuning import runner
        spec, path = sys.argv[1:]
        made = tl.load(spec, target="triton", tune=path).RMSNorm()
        assert '({"BR": 2, "BL": 64}, 8, 1)' in made._compiled.source
        x = torch.randn(5, 64, requires_grad=True)
        y = tl.load(spec).RMSNorm()(x)
        torch.testing.assert_close(made(x), y)
        gradients = [torch.autograd.grad(z.square().sum(), x)[0] for z in (made(x), y)]
        torch.testing.assert_close(*gradients)

        class Event:
            clock = 0
            def __init__(self): Event.clock += 1; self.at = Event.clock
            def synchronize(self): pass
            def elapsed_time(self, end): return end.at - self.at

        emitted = sys.modules[made.__module__]
        (launch,) = tunable(made._compiled.units, made._compiled.options)
        call = lambda: made(x).sum().backward()
        run = runner(emitted, call, "hopper", Event)
        assert run(launch, ANY, Config((("BR", 4), ("BL", 64)), 4, 1)) == 2e-3  # and backward
        assert emitted._ROWS_0 == ({"BR": 2, "BL": 64}, 8, 1)
    """)
    done = subprocess.run(
        [sys.executable, "-W", "error:the Triton kernels", "-c", program, NORMS, path],
        capture_output=True,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_of_two_versions_of_triton_the_later_counts_and_others_stay(tmp_path: Path) -> None:
    old, new = _entry(triton="3.9.0", warps=8), _entry(triton="3.10.1", warps=4)
    assert read(_file(tmp_path, new, old)) == (new,)
    other = _entry(arch="sm_80")
    assert merged((old, other), (new,)) == (other, new)
    assert read(_file(tmp_path, new, other)) == (new, other)


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel": "0" * 16},
        {"blocks": (("BM", 64),)},
        {"blocks": (("BM", 8), ("BN", 64))},
        {"blocks": (("BM", 1024), ("BN", 1024))},
        {"precision": ANY},
    ],
)
def test_an_entry_that_fits_no_kernel_is_told_and_left_out(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    path = _file(tmp_path, _entry(**changes))
    with pytest.warns(UserWarning, match=r"no kernel here is one of .*mine\.tune\.json"):
        tuned = tl.compile(AXIAL, "triton", tune=path).source
    assert _tables(tuned) == _tables(tl.compile(AXIAL, "triton").source)
    arguments = ["compile", AXIAL, "--target", "triton", "--tune", path, "-o"]
    result = CliRunner().invoke(tensorlang, [*arguments, str(tmp_path / "out.py")])
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: no kernel here is one of")


# --- bad files -----------------------------------------------------------------------------------
def _text(**changes: Any) -> str:
    (row,) = json.loads(to_json([_entry()]))["entries"]
    return json.dumps({"form": 1, "entries": [{**row, **changes}]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no tune file: Expecting value"),
        ("[]", 'is no tune file: it has no "form": 1'),
        ('{"form": 2, "entries": []}', 'is no tune file: it has no "form": 1'),
        ('{"form": 1}', "is no tune file: it has no list of entries"),
        ('{"form": 1, "entries": [3]}', "entry 1: it has the fields arch, blocks, kernel, "),
        (_text(more=1), "entry 1: it has the fields arch, blocks, kernel, "),
        (_text(kernel=3), "entry 1: kernel, names, precision, arch and triton are text"),
        (_text(names="k"), "entry 1: kernel, names, precision, arch and triton are text"),
        (_text(precision="quarter"), "entry 1: a precision is one of half, float, double, any"),
        (_text(blocks={}), 'entry 1: blocks are given as {"BM": 64}'),
        (_text(blocks={"BM": 48, "BN": 16}), "entry 1: BM is 48, no power of two"),
        (_text(blocks={"BM": True, "BN": 16}), "entry 1: BM is True, no power of two"),
        (_text(warps="8"), "entry 1: warps is '8', no power of two"),
        (_text(warps=64), "entry 1: there are 1 to 32 warps and 1 to 8 stages"),
        (_text(stages=0), "entry 1: there are 1 to 32 warps and 1 to 8 stages"),
        (_text(arch="sm_70"), "entry 1: tuned for 'sm_70'; kernels are tuned for sm_80 and later"),
        (_text(arch="gfx1100"), "entry 1: tuned for 'gfx1100'; kernels are tuned for sm_80"),
        (
            to_json([_entry(), _entry(arch="sm_100")]),
            "entry 2: one configuration would serve sm_90 and sm_100",
        ),
    ],
)  # fmt: skip
def test_what_is_no_tune_file_is_told(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.tune.json"
    path.write_text(text)
    with pytest.raises(BadRequest) as found:
        read(str(path))
    assert str(found.value).startswith(str(path))
    assert said in str(found.value)
    result = CliRunner().invoke(
        tensorlang, ["compile", AXIAL, "--target", "triton", "--tune", str(path), "-o", "-"]
    )
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_a_file_that_is_not_there_and_another_target_are_bad_requests(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"cannot read the tune file .*none\.json"):
        tl.compile(AXIAL, "triton", tune=str(tmp_path / "none.json"))
    path = _file(tmp_path, _entry())
    with pytest.raises(
        BadRequest, match=r"mine\.tune\.json is for Triton kernels: it needs --target"
    ):
        tl.compile(AXIAL, tune=path)


# --- the command ---------------------------------------------------------------------------------
def test_without_a_gpu_the_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "axial.tune.json"
    arguments = ["tune", AXIAL, "--layer", "AxialAttention", "X=2,16,16,256", "-o", str(out)]
    result = CliRunner().invoke(tensorlang, arguments)
    assert result.exit_code == 2
    assert "torch finds none here" in result.stderr
    assert not out.exists()
    several = CliRunner().invoke(tensorlang, ["tune", AXIAL])
    assert several.exit_code == 2
    assert "choose one with --layer: AxialAttention" in several.stderr


def test_the_command_writes_beside_the_spec_and_keeps_other_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorlang import tuning

    spec = tmp_path / "norms.tl"
    spec.write_text(Path(NORMS).read_text())
    made = _entry(NORM)
    other = _entry()
    monkeypatch.setattr(tuning, "refuse_without_gpu", lambda: None)
    monkeypatch.setattr(tuning, "tune", lambda compiled, given, dtype: [made])
    path = tmp_path / "norms.tune.json"
    path.write_text(to_json([other]))
    arguments = ["tune", str(spec), "--layer", "RMSNorm", "X=4,64"]
    result = CliRunner().invoke(tensorlang, arguments)
    assert result.exit_code == 0, result.output
    assert "norms.tune.json: 2 configurations" in result.stderr
    assert read(str(path)) == (other, made)
    path.write_text("no file of ours")
    bad = CliRunner().invoke(tensorlang, arguments)
    assert bad.exit_code == 2
    assert path.read_text() == "no file of ours"
