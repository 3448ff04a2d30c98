"""The commands of the command line, a file per group; cli.py joins them.

What a command does is in the modules that it calls; they are imported when it runs, so that `fmt`
and `--help` don't wait for torch.
"""
