"""How commands answer: diagnostics, tables, progress, exit codes.

Diagnostics go to stderr as text, to stdout with --format json; what was made to a file or stdout.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from tensorlang import requests
from tensorlang.diagnostics import Diagnostic, SpecError, in_order, render, to_json

Command = TypeVar("Command", bound=Callable[..., Any])


def answers(function: Command) -> Command:
    """Give a user's mistakes their exit codes: 1 for the spec's, 2 for the command's."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            _refuse_over_specs(kwargs)
            return function(*args, **kwargs)
        except SpecError as error:
            tell(error.diagnostics, kwargs.get("style", "text"))
            sys.exit(1)
        except BrokenPipeError:
            raise
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            raise click.UsageError(f"{place}{error.strerror or error}") from None
        except (requests.BadRequest, requests.BadShape) as error:
            raise click.UsageError(str(error)) from None
        except MemoryError as error:
            raise click.UsageError(f"not enough memory: {error}") from None

    return run  # type: ignore[return-value]


def _refuse_over_specs(asked: Mapping[str, Any]) -> None:
    """Raise BadRequest where an output would be written over a spec."""
    for option in ("output", "svg", "html"):
        path = asked.get(option)
        if path is not None and Path(path).suffix == ".tl":
            raise requests.BadRequest(f"nothing is written over specs: --{option} {path}")


def tell(diagnostics: Iterable[Diagnostic], style: str) -> None:
    """Print diagnostics: text to stderr, json to stdout."""
    found = in_order(diagnostics)
    if style == "json":
        click.echo(to_json(found))
    elif found:
        click.echo("\n\n".join(_coloured(d) for d in found), err=True)


def _coloured(diagnostic: Diagnostic) -> str:
    head, _, rest = render(diagnostic).partition("\n")
    colour = "red" if diagnostic.severity == "error" else "yellow"
    return click.style(head, fg=colour, bold=True) + "\n" + rest  # click strips it off a terminal


def write(text: str, output: str | None) -> None:
    """Write to a file, or to stdout where it is None or "-"."""
    if output is None or output == "-":
        click.echo(text, nl=not text.endswith("\n"))
    else:
        Path(output).write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")


@contextmanager
def bar() -> Iterator[Callable[[str, int, int], None] | None]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=None)

        def step(name: str, done: int, total: int) -> None:
            shown.update(task, description=name, completed=done, total=total)

        yield step


def table(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """A rich table on a terminal, tab-separated lines in a pipe."""
    if not sys.stdout.isatty():
        click.echo("\t".join(head))
        for row in rows:
            click.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    shown = Table(*head, title=title)
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)
