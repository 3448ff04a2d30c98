"""Names that a spec cannot take: reserved words, and what nn.Module needs for itself."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from tensorlang.check.program import AlongOp, ReduceOp, TransformOp
from tensorlang.registry import functions

CONSTANTS = ("pi", "inf", "true", "false")
BOUNDARIES = ("wrap", "clamp", "reflect")
_WORDS = """
    layer def use input param frozen const dim index sub output check as in where when if else
    and or not drop irreps
"""
STATEMENT_WORDS = tuple(_WORDS.split())


@cache
def reserved() -> Mapping[str, str]:
    """Reserved names and what each is."""
    out = dict.fromkeys(STATEMENT_WORDS, "a word of the language")
    out |= {row.name: "a function" for row in functions().values() if not row.reserved}
    operators = [op.value for kind in (ReduceOp, AlongOp, TransformOp) for op in kind]
    out |= dict.fromkeys((*operators, "at", "grad"), "an operator")
    out |= dict.fromkeys(BOUNDARIES, "a boundary of subscripts")
    out |= dict.fromkeys(CONSTANTS, "a constant")
    out["len"] = "a function of lists"
    return MappingProxyType(out)


_ATTRIBUTES = """
    T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda
    double dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
    get_submodule half ipu load_state_dict modules mtia named_buffers named_children
    named_modules named_parameters parameters register_backward_hook register_buffer
    register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
    set_submodule share_memory state_dict to to_empty train training type xpu zero_grad _apply
    _backward_hooks _backward_pre_hooks _buffers _call_impl _compiled_call_impl _forward_hooks
    _forward_hooks_always_called _forward_hooks_with_kwargs _forward_pre_hooks
    _forward_pre_hooks_with_kwargs _get_backward_hooks _get_backward_pre_hooks _get_name
    _is_full_backward_hook _load_from_state_dict _load_state_dict_post_hooks
    _load_state_dict_pre_hooks _maybe_warn_non_full_backward_hook _modules _named_members
    _non_persistent_buffers_set _parameters _register_load_state_dict_pre_hook
    _register_state_dict_hook _replicate_for_data_parallel _save_to_state_dict _slow_forward
    _state_dict_hooks _state_dict_pre_hooks _version _wrapped_call_impl _program
    _compiled _given _layer _like _options _spec _unset _weights factorisations reset_parameters
"""
_EXPORTED = """
    _boxed_call _code _codegen _deepcopy_init _graph _guards_fn _in_spec _out_spec
    _recompile_submodules _register_create_node_hook _register_deepcopy_hook
    _register_erase_node_hook _register_replace_node_hook _set_replace_hook _tracer_cls
    _unregister_create_node_hook _unregister_deepcopy_hook _unregister_erase_node_hook
    _unregister_replace_node_hook add_submodule code delete_all_unused_submodules delete_submodule
    graph meta print_readable range_constraints recompile to_folder
"""
_OF_EXPORTED = frozenset(_EXPORTED.split())
MODULE_ATTRIBUTES = frozenset(_ATTRIBUTES.split()) | _OF_EXPORTED
"""What `nn.Module` has, what emitted and loaded modules add to it, and exported ones."""
CONSTRUCTOR_ARGUMENTS = ("device", "dtype")
"""What every module's constructor takes, beside hyperparameters and params that are given."""


def user_of(name: str, *, by_its_name: bool) -> str | None:
    """Who else needs the name of something stored; None if it is free.

    `by_its_name`: the attribute has this name, as params and sub-layers do and constants don't.
    Exported modules mention attributes as `self.name`, whatever the name.
    """
    if name in _OF_EXPORTED:
        return "torch.export"
    if name in MODULE_ATTRIBUTES or name.startswith("_forward_"):
        return "nn.Module"
    if is_python_own(name) or (by_its_name and (keyword.iskeyword(name) or name == "self")):
        return "Python"
    return None


def is_python_own(name: str) -> bool:
    """Names such as `__init__`, which Python keeps for its own use."""
    return len(name) > 4 and name.startswith("__") and name.endswith("__")
