"""The four kinds of number, ordered by promotion."""

from __future__ import annotations

from enum import IntEnum


class Dtype(IntEnum):
    """REAL and COMPLEX are the module's dtype and its complex partner; INT is int64."""

    BOOL = 0
    INT = 1
    REAL = 2
    COMPLEX = 3
