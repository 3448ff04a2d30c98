"""Laws that the oracles themselves must obey: a wrong oracle would bless a wrong compiler."""

from __future__ import annotations

import torch

from tests.oracles import conv2d, grassmann, third_order


def _grassmann(d: int, r: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"Wz": (r, d), "bz": (r,), "Wp": (d, r * (r - 1) // 2), "bp": (d,)}
    return {
        key: torch.randn(shape, generator=generator, dtype=torch.float64)
        for key, shape in shapes.items()
    }


def test_grassmann_touches_exactly_the_offsets() -> None:
    offsets = [1, 2, 4, 8, 12, 16]
    params, hypers = _grassmann(16, 8), {"r": 8, "offsets": offsets}
    X = torch.randn(1, 40, 16, dtype=torch.float64)
    moved = X.clone()
    moved[:, 20] += 1
    change = (grassmann.mixing(params, hypers, moved) - grassmann.mixing(params, hypers, X))[0]
    touched = set(torch.nonzero(change.abs().amax(1) > 0).flatten().tolist())
    assert touched == {20, 21, 22, 24, 28, 32, 36}


def test_trilinear_attention_separates_when_one_key_is_constant() -> None:
    """With K2 = 1 the weights factor: attention over n' times the mean over n''."""
    Q, K1, V1, V2 = (torch.randn(5, 3, dtype=torch.float64) for _ in range(4))
    got = third_order.trilinear({}, {"scale": 1.0}, Q, K1, torch.ones_like(Q), V1, V2)
    want = torch.softmax(Q @ K1.T, -1) @ V1 * V2.mean(0)
    torch.testing.assert_close(got, want)


def test_padded_convolutions_agree_with_torchs_padding_modes() -> None:
    X = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    modes = {
        "circular": conv2d.wrap,
        "reflect": conv2d.reflect,
        "replicate": conv2d.clamp,
        "zeros": conv2d.zero,
    }
    for mode, oracle in modes.items():
        peer = torch.nn.Conv2d(3, 4, 3, padding=1, padding_mode=mode, dtype=torch.float64)
        params = {"W": peer.weight.detach(), "bias": peer.bias.detach()}
        torch.testing.assert_close(oracle(params, {"k": 3}, X), peer(X).detach())
