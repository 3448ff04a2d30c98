"""A generated layer of many equations, for growth tests and the compile-time benchmark."""

from __future__ import annotations


def long_layer(equations: int) -> str:
    """A chain with side branches: products, sums, norms and reads of values far back."""
    lines = ["layer Long(d = 8):", "    input  X[b, d]", "    param  W[d, d'] ~ kaiming"]
    lines.append("    T0[b, d] = X")
    for k in range(1, equations):
        before, back = f"T{k - 1}", f"T{max(0, k - 7)}"
        body = (
            f"{before}[b, d'] * W[d', d]",
            f"{before} + {back} * 0.5",
            f"tanh({before}) * {back}",
            f"{before} * rsqrt(mean[d]({before}^2) + 1e-6)",
        )[k % 4]
        lines.append(f"    T{k}[b, d] = {body}")
    lines.append(f"    output Y[b, d] = T{equations - 1}")
    return "\n".join(lines) + "\n"
