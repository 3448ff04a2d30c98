"""The version, as pyproject.toml states it too: it stands in the header of every emitted file."""

__version__ = "0.1.0"
