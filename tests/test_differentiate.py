"""Derivatives in the graph: against differences, twice, and forward against reverse mode."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tensorlang.differentiate import gradient
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import NodeId
from tests.differentiating import (
    Array,
    Given,
    along,
    check,
    directions,
    leaves,
    moved,
    nodes_at,
    slope,
)
from tests.rewriting import drawn, layer

SMALL = {"b": 2, "n": 5, "m": 3, "t": 7, "i": 4, "j": 3}
ONES = {"b": 1, "n": 3, "m": 1, "t": 1, "i": 1, "j": 1}  # windows of three need a place to stand
CASES = {
    "matmul": """
        input A[n, i], B[i, j]
        output Y[n, j] = A*B
    """,
    "square": """
        input A[n, i]
        output Y[n] = A*A
    """,
    "gram": """
        input A[n, i]
        output Y[n, n'] = A[n, i]*A[n', i]
    """,
    "chain": """
        input A[n, i], B[i, j], C[j, n]
        output Y[] = A*B*C
    """,
    "silu": """
        input A[n, i], b[i]
        output Y[n, i] = silu(A + b)*sigmoid(A)
    """,
    "broadcast": """
        input a[n], b[i]
        output Y[n, i] = tanh(a*b) + a
    """,
    "conv": """
        input X[n, i], W[u, i, j]
        dim u=3
        output Y[n, j] = X[n+u-1 else 0, i]*W
    """,
    "wrapconv": """
        input X[n], W[u]
        dim u=3
        output Y[n] = X[wrap(n+u-1)]*W
    """,
    "valid": """
        input X[n], W[u]
        dim u=3, m=n-u+1
        output Y[m] = X[m+u]*W
    """,
    "strided": """
        input X[n], W[u]
        dim u=3, m=(n-u)//2+1
        output Y[m] = X[2*m+u else 0]*W
    """,
    "clamp": """
        input X[n]
        output Y[n] = X[clamp(n-2)]*X + X[reflect(2*n-1)]
    """,
    "fixed": """
        input X[n, i]
        output Y[i] = X[0 else 0, i]*2 + X[n, i]*X[n, i]
    """,
    "diag": """
        input X[n, n']
        output Y[n] = X[n, n]*X[n, n] + exp(X[n, n])
    """,
    "flip": """
        input X[n]
        output Y[n] = X[|n|-1-n]*X
    """,
    "gather": """
        input X[n, i], src[t]: int
        output Y[t, i] = X[wrap(src[t]), i]*X[clamp(src[t]+1), i]
    """,
    "elsefill": """
        input X[n], W[u]
        dim u=3
        output Y[n] = X[n+u-1 else 2.5]*W*X
    """,
    "scatter": """
        input X[t, i], dst[t]: int, Z[n]
        Y0[n=wrap(dst[t]), i] += X[t, i]*X[t, i]
        output Y[n, i]=Y0*Y0*Z
    """,
    "scattermax": """
        input X[t, i], dst[t]: int, Z[n]
        Y0[n=wrap(dst[t]), i] max= X[t, i]*X[t, i]
        output Y[n, i]=Y0*Y0*Z
    """,
    "softmax": """
        input Q[n, i], K[m, i], V[m, j]
        output Y[n, j] = softmax[m](Q*K)*V
    """,
    "masked": """
        input Q[n, i], V[n, j]
        output Y[n, j] = softmax[n' where n'<n](Q*Q[n', i])*V[n', j]
    """,
    "logsoftmax": """
        input Q[n, i]
        output Y[n, i] = log_softmax[i](Q)*Q
    """,
    "mlogsoftmax": """
        input Q[n, m]
        output Y[n, m] = (log_softmax[m where m<=n](Q)*Q if m<=n else 0)
    """,
    "max": """
        input Q[n, i]
        output Y[n] = max[i](Q*Q)
        output Z[i]=min[n where Q>0](Q) if any[n](Q>0) else 0
    """,
    "prod": """
        input Q[n, i]
        output Y[n] = prod[i](Q)
        output Z[]=prod[n, i where Q>0](Q)
    """,
    "lse": """
        input Q[n, i]
        output Y[n] = logsumexp[i](Q*Q)
        output Z[n]=logsumexp[n' where n' < n](Q[n, i]*Q[n', i]) if n>0 else 0
    """,
    "cumsum": """
        input Q[n, i]
        output Y[n, i] = cumsum[n](Q*Q)*Q
    """,
    "cumprod": """
        input Q[n, i]
        output Y[n, i] = cumprod[n](Q)*Q
        output Z[n, i] = cumprod[i](Q)
    """,
    "norm": """
        input Q[n, i]
        output Y[n, i] = Q/norm[i](Q)
        output Z[n] = std[i](Q)
    """,
    "rms": """
        input X[n, i], g[i]
        output Y[n, i] = X*rsqrt(mean[i](X*X)+1e-6)*g
    """,
    "heads": """
        input X[n, (h c)]
        dim h=2, c=3
        H[h, n, c]=X[n, (h c)]
        output Y[n, (h c)] = H*H*H[h, n, c]
    """,
    "complexmul": """
        input A[n, i]: complex, B[i]: complex
        output Y[n] = A*B
        output Z[n, i] = abs(A*B) + real(A)*imag(B)
    """,
    "complexf": """
        input A[n]: complex, b[n]
        output Y[n] = exp(A)*conj(A)/(2+A*conj(A)) + b
        output Z[n]=abs(complex(b, b*b))+ real(sigmoid(0.3*A))
    """,
    "log": """
        input X[n]
        output Y[n] = log(X) if X > 0 else X*X
    """,
    "logsum": """
        input X[n, i]
        output Y[n] = sum[i where X>0](log(X)*sqrt(X))
    """,
    "pow": """
        input X[n], p[n]
        output Y[n] = (1+X*X)^p + X^3 + 2^X
    """,
    "bandgather": """
        input X[b, n], idx[b, t]: int
        output Y[b, t] = X[b, wrap(idx[b, t])]^2
    """,
    "groupread": """
        input X[(i j)], W[j]
        dim i=4, j=3
        output Y[i] = X[(i j)]*W
    """,
    "twod": """
        input X[b, n, m], W[u, v]
        dim u=3, v=2
        output Y[b, n, m]=X[b, n+u-1 else 0, m+v else 0]*W*X
    """,
    "transposeadd": """
        input A[n, n']
        output Y[n, n'] = exp(A + A[n', n])
    """,
    "same": """
        input A[n]
        B[n]=A+A
        output Y[n, n'] = B*A[n'] + B[n']
    """,
    "argm": """
        input A[n, i]
        output Y[n] = A[n, argmax[i](A)]^2
    """,
    "partial": """
        input X[n, i]
        Z[n, i]=log(X)
        output Y[n] = sum[i where X>0](Z)
    """,
    "functions": """
        input X[n], Y[n]
        A[n] = atan2(X, Y) * tan(0.2 * X) + asin(0.2 * tanh(X)) + X % 7 + frac(X) + abs(X)
        output O[n] = A + max(X, Y) + min(X, 0.1) + erf(X) * gelu(Y) + softplus(X) + relu(X)
    """,
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_and_their_gradients(name: str) -> None:
    for sizes in (SMALL, ONES):
        graph = layer(CASES[name])
        check(graph, drawn(graph.program, sizes))


SUMS = {
    "counts": """
        input X[n]
        E[n] = X ^ 2
        output Y[n] = sum[n](E) * 2 + E
    """,
    "counts of windows": """
        input X[n], a[i], t
        output Y[n, i] = X[n - 1 else 0] + 3 * t + a
    """,
    "products": """
        input X[n, i], V[j]
        output Y[n, j] = X[n, i] * X[n, i] * V
    """,
    "choices": """
        input X[n], t, Z[m]
        output Y[n, m] = (t * t if X > 0 else X) + 0 * Z
    """,
    "one cell": """
        input X[n], Z[m]
        output Y[n, m] = X[0 else 0] * Z + X
    """,
    "softmax": """
        input X[n, i]
        output Y[n, i] = softmax[i](X) * i + log_softmax[n](X) * n
    """,
    "extremes": """
        input X[n, i]
        output Y[n] = max[i](X * X) + min[i](X) + prod[i](X) + logsumexp[i](X)
    """,
    "scans": """
        input X[n]
        output Y[n] = cumsum[n](X * X) + cumprod[n](X)
    """,
    "landing": """
        input X[t], dst[t]: int, Z[n]
        A[n = wrap(dst[t])] += X * X
        B[n = wrap(dst[t])] max= X
        output Y[n] = A + B + Z
    """,
}


def total(
    graph: Graph, node: NodeId, given: Given, towards: dict[NodeId, Array], step: float
) -> float:
    """The sum of a node's cells a step along a direction."""
    (found,) = nodes_at(graph, [node], *moved(graph, given, towards, step))
    return float(np.sum(found))


@pytest.mark.parametrize("name", SUMS)
def test_gradients_of_sums(name: str) -> None:
    """The cotangent is 1, which is no tensor."""
    for sizes in (SMALL, ONES):
        graph = layer(SUMS[name])
        given = drawn(graph.program, sizes)
        towards = directions(graph, given)
        value = graph.outputs[0]
        for _ in range(2):
            grads = {leaf: gradient(graph, value, leaf) for leaf in leaves(graph)}
            ours = along(graph, grads, given, towards)

            theirs = slope(functools.partial(total, graph, value, given, towards))
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
            value = grads[leaves(graph)[0]]
