"""Params `~ given` hold NaN until they are supplied; the first call refuses to go on with those.

Loading takes their names out of `_unset`. Values that came in another way are found by a look at
them, once: after it `_unset` is empty.
"""

from __future__ import annotations

from tensorlang.check.program import Program
from tensorlang.library.initialiser import Law
from tensorlang.registry import initialisers

CHECK = '''
def _check_given(module: nn.Module) -> None:
    """Raise ValueError for a param `~ given` that has no values yet; where traced, assert."""
    params = {key: functools.reduce(getattr, key.split("."), module) for key in module._unset}
    traced = torch.compiler.is_compiling()
    if not traced and any(type(p) is not nn.Parameter or p.is_meta for p in params.values()):
        return  # swapped in for this call alone, or without values to look at
    for key, param in params.items():
        layer, name = type(module).__name__, key.partition(".")[0]
        message = (
            f"{layer}: param {name} is ~ given and has no values yet: supply it by load_state_dict,"
            f" or as {layer}({name}=...) if tensorlang.load made the class"
        )
        empty = param.isnan().all()
        if traced:
            torch._assert_async(~empty, message)
        elif empty:
            raise ValueError(message)
    if not traced:
        module._unset = ()
'''
"""Printed where a layer has such params; `_unset` names those that nobody has seen values of."""

LOAD = """
    def _load_from_state_dict(self, state_dict, prefix, *args):
        self._unset = tuple(name for name in self._unset if prefix + name not in state_dict)
        super()._load_from_state_dict(state_dict, prefix, *args)
""".strip("\n")
"""A method of such a layer."""


def unset_params(program: Program) -> tuple[str, ...]:
    """Names of the params of this layer alone that wait for values."""
    laws = initialisers()
    return tuple(p.name for p in program.params if laws[p.initialiser.name].law is Law.GIVEN)
