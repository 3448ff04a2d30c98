"""The command line: compile, check, run, explain, verify, fmt, graph, profile, factorise.

Exit codes: 0 fine, 1 the spec is wrong (or a comparison failed), 2 the command is. Diagnostics
go to stderr as text, to stdout with --format json. What a command does is in the modules it calls;
they are imported by the command that needs them, so that `fmt` and `--help` don't wait for torch.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from tensorlang import requests
from tensorlang.diagnostics import Diagnostic, SpecError, in_order, render, to_json
from tensorlang.options import Options
from tensorlang.version import __version__

Command = TypeVar("Command", bound=Callable[..., Any])
SPEC = click.argument("spec", type=click.Path(exists=True, dir_okay=False))
BIND = click.option(
    "-b", "--bind", multiple=True, metavar="[LAYER.]NAME=VALUE", help="Set a hyperparameter."
)
LAYERS = click.option("-l", "--layer", "layers", multiple=True, help="Only this layer.")
STYLE = click.option("--format", "style", type=click.Choice(["text", "json"]), default="text")
TARGET = click.option("-t", "--target", default="torch", show_default=True, help="torch or triton.")
OUTPUT = click.option("-o", "--output", metavar="FILE", help="Where to write; - is stdout.")
SHAPES = click.argument("shapes", nargs=-1, metavar="[INPUT=SIZE,SIZE,...]...")


PLANNING = (
    click.option(
        "--range", "ranges", multiple=True, metavar="DIM=LEAST:MOST", help="Sizes to plan for."
    ),
    click.option(
        "--memory", metavar="SIZE", help="Bound on the bytes of intermediates, such as 2GB."
    ),
    click.option(
        "--profile",
        default="cpu",
        show_default=True,
        metavar="NAME|FILE.json",
        help="Device whose costs are assumed: cpu, generic, a100, h100, h200, or a file.",
    ),
    click.option("--path-finder", default="auto", show_default=True, help="auto or cotengra."),
)


def main() -> None:
    """Entry point of the `tensorlang` command."""
    tensorlang(prog_name="tensorlang")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def tensorlang() -> None:
    """Layers as equations in index notation, compiled to PyTorch modules and Triton kernels."""


def _answers(function: Command) -> Command:
    """Give a user's mistakes their exit codes: 1 for the spec's, 2 for the command's."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except SpecError as error:
            _tell(error.diagnostics, kwargs.get("style", "text"))
            sys.exit(1)
        except (requests.BadRequest, requests.BadShape, OSError, UnicodeDecodeError) as error:
            raise click.UsageError(str(error)) from None

    return run  # type: ignore[return-value]


def _planning(command: Command) -> Command:
    """Options of planning, shared by the commands that plan."""
    for option in reversed(PLANNING):
        command = option(command)
    return command


def _tell(diagnostics: Iterable[Diagnostic], style: str) -> None:
    found = in_order(diagnostics)
    if style == "json":
        click.echo(to_json(found))
    elif found:
        click.echo("\n\n".join(_coloured(d) for d in found), err=True)


def _coloured(diagnostic: Diagnostic) -> str:
    head, _, rest = render(diagnostic).partition("\n")
    colour = "red" if diagnostic.severity == "error" else "yellow"
    return click.style(head, fg=colour, bold=True) + "\n" + rest  # click strips it off a terminal


def _write(text: str, output: str | None) -> None:
    if output is None or output == "-":
        click.echo(text, nl=not text.endswith("\n"))
    else:
        Path(output).write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")


@tensorlang.command("compile")
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
@_planning
@click.option("--no-index-checks", is_flag=True, help="Leave out range checks of gathered indices.")
@click.option(
    "--check",
    "arch",
    metavar="ARCH",
    help="Compile the Triton kernels for sm_90, sm_80 or gfx942; print what they use.",
)
@_answers
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
    )
    compiled = compile_file(spec, target, requests.binds(bind), layers or None, options)
    text = emit_stage(compiled, stage)
    default = f"{Path(spec).stem}_{target}.py" if stage == "python" else "-"
    _tell(compiled.warnings, "text" if (output or default) == "-" else style)
    _write(text, output or default)
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
    _table(
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


@tensorlang.command("check")
@click.argument("specs", type=click.Path(exists=True, dir_okay=False), nargs=-1, required=True)
@BIND
@STYLE
@_answers
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
    _tell(found, style)
    wrong = any(diagnostic.severity == "error" for diagnostic in found)
    if style == "text" and not wrong:
        click.echo(f"{', '.join(specs)}: no mistakes found")
    sys.exit(1 if wrong else 0)


@tensorlang.command("run")
@SPEC
@click.argument("inputs", nargs=-1, metavar="[INPUT=SHAPE|FILE.npy]...")
@TARGET
@BIND
@click.option("-l", "--layer", help="Which layer; needed where a file has several.")
@click.option("--seed", default=0, show_default=True, help="For parameters and random inputs.")
@click.option("--reference", "as_reference", is_flag=True, help="Use the reference evaluator.")
@click.option("-o", "--output", metavar="FILE.npz", help="Write the outputs there.")
@STYLE
@_answers
def run_command(
    spec: str,
    inputs: tuple[str, ...],
    target: str,
    bind: tuple[str, ...],
    layer: str | None,
    seed: int,
    as_reference: bool,
    output: str | None,
    style: str,
) -> None:
    """Run a layer on arrays from files or on random inputs of given shapes.

    \b
    tensorlang run axial.tl --layer AxialAttention X=2,16,256
    tensorlang run kde.tl X=points.npy S=samples.npy -o out.npz
    """
    from tensorlang.running import run_layer

    results = run_layer(
        spec, layer, requests.binds(bind), inputs, target=target, seed=seed, reference=as_reference
    )
    if output is not None:
        import numpy as np  # only here: the other commands need not wait for it

        np.savez(output, **results)  # type: ignore[arg-type]
    facts = [(n, str(tuple(v.shape)), str(v.dtype), *_moments(v)) for n, v in results.items()]
    head = ("output", "shape", "dtype", "mean", "min", "max")
    if style == "json":
        click.echo(json.dumps([dict(zip(head, row, strict=True)) for row in facts], indent=2))
    else:
        _table(f"{'reference' if as_reference else target}, seed {seed}", head, facts)


def _moments(value: Any) -> tuple[str, str, str]:
    if value.size == 0:
        return "", "", ""
    real = abs(value) if value.dtype.kind == "c" else value.astype(float)
    return f"{real.mean():.6g}", f"{real.min():.6g}", f"{real.max():.6g}"


@tensorlang.command("explain")
@SPEC
@SHAPES
@TARGET
@BIND
@LAYERS
@STYLE
@click.option("--svg", metavar="FILE", help="Also draw the graph of the (one) layer there.")
@_planning
@_answers
def explain_command(
    spec: str,
    shapes: tuple[str, ...],
    target: str,
    bind: tuple[str, ...],
    layers: tuple[str, ...],
    style: str,
    svg: str | None,
    ranges: tuple[str, ...],
    memory: str | None,
    profile: str,
    path_finder: str,
) -> None:
    """Say what was planned and why: steps, FLOPs, bytes, where each line went.

    \b
    tensorlang explain axial.tl --layer AxialAttention X=2,64,64,256
    """
    from tensorlang.driver import compile_file
    from tensorlang.explanation import explain_compiled

    given = requests.shapes(shapes)
    options = Options(
        profile=profile,
        ranges=requests.ranges(ranges),
        memory=requests.memory(memory),
        path_finder=path_finder,
    )
    compiled = compile_file(spec, target, requests.binds(bind), layers or None, options)
    if (given or svg) and len(compiled.roots) != 1:
        raise requests.BadRequest(f"choose one with --layer: {', '.join(compiled.roots)}")
    explained = [explain_compiled(compiled, name, given) for name in compiled.roots]
    if svg is not None:
        _write(explained[0].to_svg(), svg)
    if style == "json":
        click.echo(json.dumps([e.to_dict() for e in explained], indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        from rich.console import Console

        for explanation in explained:
            Console().print(explanation, "")
    else:
        click.echo("\n\n".join(str(e) for e in explained))


@tensorlang.command("verify")
@SPEC
@BIND
@LAYERS
@click.option("--seed", default=0, show_default=True)
@STYLE
@_answers
def verify_command(
    spec: str, bind: tuple[str, ...], layers: tuple[str, ...], seed: int, style: str
) -> None:
    """Compare every target with the reference evaluator on random inputs, values and gradients.

    \b
    tensorlang verify axial.tl --bind d=8 --bind heads=2
    """
    from tensorlang.verification import verify

    report = verify(spec, bind=requests.binds(bind), layers=layers or None, seed=seed)
    if style == "json":
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _table(
            spec,
            ("layer", "target", "what", "error", "allowed", ""),
            [
                (
                    f.layer,
                    f.target,
                    f.what,
                    f"{f.error:.1e}",
                    f"{f.allowed:.0e}",
                    "ok" if f.ok else "WRONG",
                )
                for f in report.findings
            ],
        )
    sys.exit(0 if report.ok else 1)


@tensorlang.command("fmt")
@click.argument("specs", type=click.Path(exists=True, dir_okay=False), nargs=-1, required=True)
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit 1 if it would.")
@click.option("--stdout", is_flag=True, help="Print instead of writing.")
@_answers
def fmt_command(specs: tuple[str, ...], only_check: bool, stdout: bool) -> None:
    """Lay specs out in the canonical form, comments kept.

    \b
    tensorlang fmt axial.tl
    tensorlang fmt --check *.tl
    """
    from tensorlang.source import Source
    from tensorlang.syntax.format import format_source

    changed = []
    for path in specs:
        text = Path(path).read_text(encoding="utf-8")
        made = format_source(Source(path, text))
        if stdout:
            click.echo(made, nl=False)
        elif made != text:
            changed.append(path)
            if not only_check:
                Path(path).write_text(made, encoding="utf-8")
    for path in changed:
        click.echo(f"{'would change' if only_check else 'formatted'} {path}", err=True)
    sys.exit(1 if changed and only_check else 0)


@tensorlang.command("graph")
@SPEC
@OUTPUT
@BIND
@click.option("-l", "--layer", help="Which layer; needed where a file has several.")
@click.option("--as", "form", type=click.Choice(["text", "json", "dot", "svg"]), default="text")
@click.option("--lowered", is_flag=True, help="Before the rewrites.")
@_answers
def graph_command(
    spec: str,
    output: str | None,
    bind: tuple[str, ...],
    layer: str | None,
    form: str,
    lowered: bool,
) -> None:
    """Print the graph of a layer.

    \b
    tensorlang graph axial.tl --layer AxialAttention --as svg -o axial.svg
    """
    from tensorlang.driver import compile_file
    from tensorlang.ir import svg, text

    compiled = compile_file(spec, "torch", requests.binds(bind), [layer] if layer else None)
    if len(compiled.roots) != 1:
        raise requests.BadRequest(f"choose one with --layer: {', '.join(compiled.roots)}")
    (name,) = compiled.roots.values()
    stages = compiled.stages[name, ""]
    made = stages.graph if lowered else stages.rewritten
    printers = {"text": text.to_text, "json": text.to_json, "dot": text.to_dot, "svg": svg.to_svg}
    _write(printers[form](made), output)


@tensorlang.command("profile")
@click.option("--device", default="cpu", show_default=True, help="A torch device: cpu or cuda.")
@OUTPUT
@_answers
def profile_command(device: str, output: str | None) -> None:
    """Measure what GEMMs, passes and copies cost on a device, for --profile.

    \b
    tensorlang profile -o my_profile.json
    tensorlang compile axial.tl --profile my_profile.json
    """
    from tensorlang.order.profile import to_json
    from tensorlang.profiling import measure

    try:
        made = measure(device, device)
    except RuntimeError as error:  # torch's, for a device that it lacks
        raise requests.BadRequest(f"cannot measure {device!r}: {error}") from None
    _write(to_json(made), output)


@tensorlang.command("factorise")
@click.argument("model", type=click.Path(exists=True, dir_okay=False))
@click.option("--as", "form", required=True, help="tucker, cp, tt, lowrank, …")
@click.option(
    "--rank", metavar="RANK", help="An integer, [a, list], or a ratio of parameters: 0.2."
)
@click.option("--tol", type=float, help="Relative error, in place of a rank.")
@click.option("--match", default="*", show_default=True, help="Only tensors of this name pattern.")
@click.option("--least", default=4096, show_default=True, help="Leave tensors with fewer numbers.")
@click.option("-o", "--output", metavar="FILE", help="Where to write; without it nothing is.")
@STYLE
@_answers
def factorise_command(
    model: str,
    form: str,
    rank: str | None,
    tol: float | None,
    match: str,
    least: int,
    output: str | None,
    style: str,
) -> None:
    """Put factors in place of the weights of a .safetensors or .pt file, and say what they cost.

    \b
    tensorlang factorise model.safetensors --as tucker --rank 0.2 -o out.safetensors
    tensorlang factorise model.pt --as lowrank --tol 0.05 --match "*.mlp.*.weight"
    """
    from tensorlang import factorisation as f

    ranks = None if rank is None else requests.value(rank)
    with _bar() as progress:
        state, rows = f.factorise_state(
            f.read_state(model),
            form,
            rank=list(ranks) if isinstance(ranks, tuple) else ranks,
            tol=tol,
            match=match,
            least=least,
            progress=progress,
        )
    if output is not None:
        f.write_state(state, output, rows)
    cells = list(f.table(rows))
    if style == "json":
        click.echo(json.dumps([f.to_dict(row) for row in rows], indent=2))
    else:
        _table(f"{model} as {form}", f.HEAD, [*cells, f.total(rows)] if rows else cells)


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def step(name: str, done: int, total: int) -> None:
            bar.update(task, description=name, completed=done, total=total)

        yield step


def _table(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """A rich table on a terminal, tab-separated lines in a pipe."""
    if not sys.stdout.isatty():
        click.echo("\t".join(head))
        for row in rows:
            click.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*head, title=title)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
