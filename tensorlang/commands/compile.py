"""`compile` and `check`: from a spec to a module, or to all its mistakes."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import click

from tensorlang import requests
from tensorlang.commands.answered import answers, table, tell, write
from tensorlang.commands.asked import BIND, LAYERS, OUTPUT, SPEC, STYLE, TARGET, planning
from tensorlang.diagnostics import Diagnostic, SpecError
from tensorlang.options import Options


@click.command("compile")
@SPEC
@TARGET
@OUTPUT
@BIND
@LAYERS
@STYLE
@click.option("--emit", "stage", default="python", show_default=True, metavar="STAGE",
              help="ast, program, graph, rewritten, plan, kernels or python.")  # fmt: skip
@click.option("--dtype", help="Default dtype of parameters, such as float64.")
@click.option("--without", multiple=True, metavar="RULE", help="Leave out a rewrite.")
@planning
@click.option("--tune", metavar="FILE.json", help="Configurations that `tune` measured.")
@click.option("--no-index-checks", is_flag=True, help="Leave out range checks of gathered indices.")
@click.option(
    "--check",
    "arch",
    metavar="ARCH",
    help="Compile the Triton kernels for sm_90, sm_80 or gfx942; print what they use.",
)
@answers
def compile_command(
    spec: str,
    target: str,
    output: str | None,
    bind: tuple[str, ...],
    layers: tuple[str, ...],
    style: str,
    stage: str,
    dtype: str | None,
    without: tuple[str, ...],
    ranges: tuple[str, ...],
    memory: str | None,
    profile: str,
    path_finder: str,
    tune: str | None,
    no_index_checks: bool,
    arch: str | None,
) -> None:
    """Write a stand-alone module, by default ./SPEC_TARGET.py.

    \b
    tensorlang compile axial.tl --target triton --bind d=128
    tensorlang compile axial.tl --emit plan
    """
    from tensorlang.driver import compile_file, emit_stage

    options = Options(
        profile=profile,
        without=without,
        ranges=requests.ranges(ranges),
        memory=requests.memory(memory),
        dtype=dtype,
        index_checks=not no_index_checks,
        path_finder=path_finder,
        tune=tune,
    )
    compiled = compile_file(spec, target, requests.binds(bind), layers or None, options)
    with warnings.catch_warnings(record=True) as said:
        text = emit_stage(compiled, stage)
    for warning in said:
        click.echo(f"warning: {warning.message}", err=True)
    default = f"{Path(spec).stem}_{target}.py" if stage == "python" else "-"
    tell(compiled.warnings, "text" if (output or default) == "-" else style)
    write(text, output or default)
    if stage == "python" and output is None and style == "text":
        click.echo(f"wrote {default}: {', '.join(compiled.roots)}", err=True)
    if arch is not None:
        sys.exit(_check_kernels(compiled.source, target, arch))


def _check_kernels(source: str, target: str, arch: str) -> int:
    if target != "triton":
        raise requests.BadRequest("--check compiles Triton kernels: it needs --target triton")
    from tensorlang.backends.triton.check import SHARED, check

    if arch not in SHARED:
        raise requests.BadRequest(f"--check knows {', '.join(SHARED)}, not {arch!r}")
    reports = check(source, arch)
    table(
        f"kernels for {arch}",
        ("kernel", "registers", "spills", "shared bytes", "seconds", "problem"),
        [
            (
                r.name, str(r.registers), str(r.spills), str(r.shared), f"{r.seconds:.1f}",
                r.problem or "",
            )
            for r in reports
        ],
    )  # fmt: skip
    return 1 if any(report.problem for report in reports) else 0


@click.command("check")
@click.argument("specs", type=click.Path(exists=True, dir_okay=False), nargs=-1, required=True)
@BIND
@STYLE
@answers
def check_command(specs: tuple[str, ...], bind: tuple[str, ...], style: str) -> None:
    """Parse and check specs for all values of their hyperparameters; print every mistake.

    \b
    tensorlang check axial.tl
    tensorlang check layer.tl --bind d=12 --format json
    """
    from tensorlang.check.check import check_layer, check_spec
    from tensorlang.check.spec import load_spec
    from tensorlang.driver import layer_binds

    found: list[Diagnostic] = []
    for path in specs:
        try:
            spec = load_spec(path)
            found += check_spec(spec)
            bound = requests.binds(bind)
            if bound and not any(d.severity == "error" for d in found):
                for layer, values in layer_binds(spec, spec.layers, bound).items():
                    check_layer(spec, layer, values, found)
        except SpecError as error:
            found += error.diagnostics
    tell(found, style)
    wrong = any(diagnostic.severity == "error" for diagnostic in found)
    if style == "text" and not wrong:
        click.echo(f"{', '.join(specs)}: no mistakes found")
    sys.exit(1 if wrong else 0)
