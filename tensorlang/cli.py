"""The command line: compile, check, run, explain, verify, fmt, graph, profile, tune,
factorise.

Exit codes: 0 fine, 1 the spec is wrong (or a comparison failed), 2 the command is.
"""

from __future__ import annotations

import click

from tensorlang.commands.compile import check_command, compile_command
from tensorlang.commands.explain import explain_command, graph_command
from tensorlang.commands.factorise import factorise_command
from tensorlang.commands.fmt import fmt_command
from tensorlang.commands.profile import profile_command
from tensorlang.commands.run import run_command, verify_command
from tensorlang.commands.tune import tune_command
from tensorlang.version import __version__


def main() -> None:
    """Entry point of the `tensorlang` command."""
    tensorlang(prog_name="tensorlang")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def tensorlang() -> None:
    """Layers as equations in index notation, compiled to PyTorch modules and Triton kernels."""


for command in (
    compile_command,
    check_command,
    run_command,
    explain_command,
    verify_command,
    fmt_command,
    graph_command,
    profile_command,
    tune_command,
    factorise_command,
):
    tensorlang.add_command(command)
