"""A layer as the text of an nn.Module: constructor, initial values, constants, forward methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tensorlang.backends.torch.constants import dtype_text, expression
from tensorlang.backends.torch.file import File
from tensorlang.backends.torch.forward import forward
from tensorlang.backends.torch.given import LOAD, unset_params
from tensorlang.backends.torch.home import LIKE
from tensorlang.backends.torch.initial import reset_lines
from tensorlang.backends.torch.layout import statement
from tensorlang.backends.torch.names import attribute, identifier, is_attribute, quoted
from tensorlang.backends.torch.operand import permuted_text
from tensorlang.backends.torch.steps import Foreign, Method
from tensorlang.check.names import MODULE_ATTRIBUTES
from tensorlang.check.program import Param, Value
from tensorlang.dtype import Dtype
from tensorlang.ir.nodes import Array, Const
from tensorlang.options import Options
from tensorlang.plan.plan import Slot, Unit


@dataclass(frozen=True)
class _Constant:
    """A constant of a class: its buffer, the module-level master, its values."""

    buffer: str
    master: str
    array: Array
    dtype: Dtype


def class_text(
    file: File, unit: Unit, classes: Mapping[str, str], options: Options, foreign: Foreign | None
) -> str:
    """The class statement. `classes` gives the printed name of each class of the file."""
    constants, slots = _constants(file, unit, classes[unit.class_name])
    out = [f"class {classes[unit.class_name]}(nn.Module):"]
    doc = unit.program.docstring or f"Layer {unit.program.layer}."
    out += docstring(doc, 4)
    hypers = ", ".join(f"{name} = {_shown(value)}" for name, value in unit.program.hypers)
    if hypers:
        out += ["", *(f"    # {line}" for line in _wrapped(hypers, 94))]
    methods: list[str] = []
    forms = [(s, f"_forward_{identifier(s)}") for s in sorted(unit.plans) if s]
    names = dict(forms)
    for signature in ["", *sorted(s for s in unit.plans if s)]:
        method = Method(file, unit, options, slots[signature], foreign)
        name = names.get(signature, "forward")
        plan = unit.plans[signature]
        methods += ["", *forward(method, plan, name, forms if not signature else ())]
    like = any(f"self.{LIKE}." in line for line in methods)
    out += ["", *_constructor(file, unit, classes, constants, options, like)]
    reset = reset_lines(file, unit.program)
    if unit.program.params:
        out += ["", *_reset(unit, reset)]
    stored = unit.plans[""].stored_names()
    if stored:
        out += ["", *_saved(stored)]
    if unset_params(unit.program):
        out += ["", *LOAD.split("\n")]
    if constants or any(p.dtype is Dtype.COMPLEX for p in unit.program.params):
        out += ["", *_apply(unit, constants)]
    return "\n".join(out + methods)


def docstring(text: str, indent: int) -> list[str]:
    """A docstring whose content is the text; triple quotes where nothing needs escapes.

    Lines are indented as inspect.getdoc expects.
    """
    margin = " " * indent
    lines = text.split("\n")
    plain = all(line.isprintable() for line in lines) and "\\" not in text and '"""' not in text
    if not plain or text.endswith('"') or not text.strip():
        return statement(repr(text), indent)
    if len(lines) == 1:
        return [f'{margin}"""{text}"""']
    if not indent:
        return [f'"""{lines[0]}', *lines[1:-1], f'{lines[-1]}"""']
    inner = [f"{margin}{line}" if line else "" for line in lines[1:]]
    return [f'{margin}"""{lines[0]}', *inner, f'{margin}"""']


def _shown(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return repr(value)


def _wrapped(text: str, room: int) -> list[str]:
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > room:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


# --- the constructor -----------------------------------------------------------------------------
def _constructor(
    file: File,
    unit: Unit,
    classes: Mapping[str, str],
    constants: list[_Constant],
    options: Options,
    like: bool,
) -> list[str]:
    default = "None" if options.dtype is None else f"torch.{identifier(options.dtype)}"
    kind = "torch.dtype | None" if options.dtype is None else "torch.dtype"
    out = [
        "    def __init__(",
        f"        self, device: torch.device | str | None = None, dtype: {kind} = {default}",
        "    ) -> None:",
        "        super().__init__()",
    ]
    body: list[str] = []
    if any(p.dtype is Dtype.COMPLEX for p in unit.program.params) or any(
        c.dtype is Dtype.COMPLEX for c in constants
    ):
        function = file.require("_complex_dtype")
        body.append(f"complex_dtype = {function}(dtype or torch.get_default_dtype())")
    held: set[str] = set()
    stored = unit.plans[""].stored_names()
    for param in unit.program.params:
        holder = param.name.rpartition(".")[0]
        if holder and holder not in held:  # the factors of a param are those of a module
            held.add(holder)
            body.append(_assigned("self", holder, "nn.Module()", "add_module"))
        body.append(_parameter(param, stored.get(param.name)))
    for sub, name, count in unit.subs:
        body.append(_child(sub, classes[name], count))
    for constant in constants:
        cast = {Dtype.REAL: "dtype or torch.get_default_dtype()", Dtype.COMPLEX: "complex_dtype"}
        to = f"device, {cast[constant.dtype]}" if constant.dtype in cast else "device"
        value = f"{constant.master}.to({to})"
        body.append(f'self.register_buffer("{constant.buffer}", {value}, persistent=False)')
    if like:
        value = "torch.empty(0, device=device, dtype=dtype)"
        body.append(f'self.register_buffer("{LIKE}", {value}, persistent=False)')
    if unit.program.params:
        body.append("self.reset_parameters()")
    for line in body:
        out += statement(line, 8)
    return out


def _parameter(param: Param, stored: Sequence[int] | None) -> str:
    """Its statement; axes `stored` from slowest to fastest are permuted as they are declared."""
    axes = range(len(param.axes))
    order = axes if stored is None else stored
    sizes = [param.axes[axis].size for axis in order]
    assert all(isinstance(size, int) for size in sizes), param
    dtype = "dtype=dtype" if param.dtype is Dtype.REAL else "dtype=complex_dtype"
    shape = ", ".join(map(str, sizes)) if sizes else "()"
    frozen = ", requires_grad=False" if param.frozen else ""
    value = permuted_text(
        f"torch.empty({shape}, device=device, {dtype})", [order.index(axis) for axis in axes]
    )
    value = f"nn.Parameter({value}{frozen})"
    holder, _, name = param.name.rpartition(".")
    owner = attribute(holder) if holder else "self"
    return _assigned(owner, name, value, "register_parameter")


def _assigned(owner: str, name: str, value: str, method: str) -> str:
    if is_attribute(name):
        return f"{owner}.{name} = {value}"
    return f"{owner}.{method}({quoted(name)}, {value})"


def _child(name: str, class_name: str, count: int | None) -> str:
    value = f"{class_name}(device=device, dtype=dtype)"
    if count is not None:
        value = f"nn.ModuleList({value} for _ in range({count}))"
    return _assigned("self", name, value, "add_module")


def _reset(unit: Unit, lines: list[str]) -> list[str]:
    first = attribute(unit.program.params[0].name)
    out = [
        "    @torch.no_grad()",
        "    def reset_parameters(self) -> None:",
        '        """Draw initial values: a seed gives the same on every device, in every dtype."""',
    ]
    unset = unset_params(unit.program)
    if unset:
        out.append("        # ~ given: without values until they are supplied")
        names = ", ".join(map(quoted, unset))
        out += statement(f"self._unset = ({names}{',' if len(unset) == 1 else ''})", 8)
    out += [f"        if {first}.is_meta:", "            return"]
    for line in lines:
        out += statement(line, 8)
    return out


def _saved(stored: Iterable[str]) -> list[str]:
    """Saving: what lies otherwise than declared is copied."""
    names = list(map(quoted, stored))
    shown = f"({', '.join(names)}{',' if len(names) == 1 else ''})"
    return [
        "    def _save_to_state_dict(self, destination, prefix, keep_vars):",
        "        super()._save_to_state_dict(destination, prefix, keep_vars)",
        *statement(f"for name in {shown}:", 8),
        "            if not keep_vars and prefix + name in destination:",
        "                destination[prefix + name] = destination[prefix + name].contiguous()",
    ]


# --- constants -----------------------------------------------------------------------------------
def _constants(
    file: File, unit: Unit, class_name: str
) -> tuple[list[_Constant], dict[str, dict[Slot, str]]]:
    """Every constant once, and per signature what slot is which buffer."""
    found: dict[Array, _Constant] = {}
    slots: dict[str, dict[Slot, str]] = {}
    taken = {param.name.partition(".")[0] for param in unit.program.params}
    taken |= {sub for sub, _, _ in unit.subs} | MODULE_ATTRIBUTES
    for signature in sorted(unit.plans):
        plan = unit.plans[signature]
        slots[signature] = {}
        for name, slot, _ in plan.consts:
            leaf = plan.leaves[slot]
            assert isinstance(leaf.op, Const), leaf
            array = leaf.op.array
            if array not in found:
                buffer, count = f"_{identifier(name).lstrip('_')}", 2
                while buffer in taken:
                    buffer, count = f"_{identifier(name).lstrip('_')}_{count}", count + 1
                taken.add(buffer)
                master = file.fresh(f"_{class_name}{buffer}".upper())
                found[array] = _Constant(buffer, master, array, leaf.dtype)
                assert all(isinstance(size, int) for size in leaf.shape), leaf
                text, needs = expression(array.value.reshape(leaf.shape))
                if needs is not None:
                    file.require(needs)
                file.constant(f"{master} = {text}")
            slots[signature][slot] = f"self.{found[array].buffer}"
    return list(found.values()), slots


def _apply(unit: Unit, constants: list[_Constant]) -> list[str]:
    """Casts: constants from their float64 masters, complex tensors by their two parts."""
    out = ["    def _apply(self, fn, recurse=True):"]
    dtypes = [*(p.dtype for p in unit.program.params), *(c.dtype for c in constants)]
    if Dtype.COMPLEX in dtypes:
        out += [
            "        # complex tensors are moved and cast as pairs of reals",
            "        def parts(x):",
            "            if not x.is_complex():",
            "                return fn(x)",
            "            y = fn(torch.view_as_real(x))",
            "            y = y if y.dtype in (torch.float32, torch.float64) else y.float()",
            "            y = y if y.stride(-1) == 1 else y.contiguous()",
            "            return torch.view_as_complex(y)",
            "",
            "        super()._apply(parts, recurse)",
        ]
    else:
        out.append("        super()._apply(fn, recurse)")
    cast = [c for c in constants if c.dtype >= Dtype.REAL]
    if cast:
        out.append("        # from their float64 masters, so that .double() is exact")
    for constant in cast:
        buffer = f"self.{constant.buffer}"
        out += statement(f"{buffer} = {constant.master}.to({buffer}.device, {buffer}.dtype)", 8)
    out.append("        return self")
    return out


__all__ = ["class_text", "docstring", "dtype_text"]
