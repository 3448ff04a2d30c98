"""Keeps what is made of parameters alone while nothing trains: the functions printed for it."""

from __future__ import annotations

KEEPS = '''
def _keeps(module: nn.Module, params: tuple[nn.Parameter, ...]) -> bool:
    """Whether what is made of these is kept: in eval(), without grad, nothing being traced."""
    if torch.compiler.is_compiling() or module.training:
        return False
    grad = torch.is_grad_enabled() and any(p.requires_grad for p in params)
    plain = all(type(p) is nn.Parameter and not p.is_inference() for p in params)
    return plain and not grad and not torch.is_autocast_enabled(params[0].device.type)
'''

KEPT = '''
_KEPT = weakref.WeakKeyDictionary()


def _kept(module: nn.Module, made: Callable, params: tuple[nn.Parameter, ...], keeps=None):
    """What is made of parameters alone: kept in eval() without grad while they stay the same."""
    if not (_keeps(module, params) if keeps is None else keeps):
        if not torch.compiler.is_compiling() and module.training:
            _KEPT.pop(module, None)
        return made()
    key = tuple((p.data_ptr(), p._version, p.dtype, p.device) for p in params)
    kept = _KEPT.setdefault(module, {})
    if made.__name__ not in kept or kept[made.__name__][0] != key:
        # the parameters' memory is held on to, so that its addresses are theirs alone
        kept[made.__name__] = key, made(), [p.detach() for p in params]
    return kept[made.__name__][1]
'''
"""Printed where a layer has such steps. Never in state_dict, copies or pickles."""
