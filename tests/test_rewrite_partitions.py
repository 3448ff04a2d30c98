"""Linear maps of an axis in parts read a view of it."""

from __future__ import annotations

import inspect

import pytest

from tests.language.street import spec
from tests.rewriting import layer, rewritten, rules

WINDOWS = """
    input X[b, (n i), j]
    dim i = 4, j = 3, c = 5
    param Wq[j, c] ~ ones
    param Wk[j, c] ~ ones
    Q[b, n, i, c] = X[b, (n i), j] * Wq[j, c]
    K[b, n, i, c] = X[b, (n i), j] * Wk[j, c]
    output Y[b, n, i, i'] = Q[b, n, i, c] * K[b, n, i', c]
    output Z[b, n, i, c] = sin(Q) * cos(K)
    """


def test_both_maps_read_one_view() -> None:
    assert "partitions" in rules(rewritten(layer(WINDOWS))[1])
    assert "partitions" not in rules(rewritten(layer(WINDOWS), "partitions")[1])


def test_projections_of_windows_are_one_gemm() -> None:
    lines = "\n".join(f"    {line.strip()}" for line in WINDOWS.strip().splitlines())
    text = inspect.getsource(type(spec(f"layer L():\n{lines}\n").L()).forward)
    assert text.count("unflatten(1, (n, 4))") == 1 and "torch.cat((self.Wq, self.Wk), 1)" in text


@pytest.mark.parametrize(
    "body",
    [
        "input X[b, (n i), j]\ndim i = 4\noutput Y[b, n, i] = sum[j](X[b, (n i), j])",
        "input X[b, (n i), j], W[j, m]\ndim i = 4\noutput Y[b, n, i, m] = X[b, (n i), j] * W",
        "input X[b, n, j]\ndim j = 3, m = 2\nparam W[j, m] ~ ones\noutput Y[b, n, m] = X * W",
    ],
)
def test_what_is_not_in_parts_or_no_map_stays(body: str) -> None:
    assert "partitions" not in rules(rewritten(layer(body))[1])
