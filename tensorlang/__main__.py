"""`python -m tensorlang` is the `tensorlang` command."""

from tensorlang.cli import main

main()
