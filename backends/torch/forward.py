"""A plan as the body of a method: every step under the lines of the source that it computes."""

from __future__ import annotations

from collections.abc import Sequence

from tensorlang.backends.torch.body import Body
from tensorlang.backends.torch.given import unset_params
from tensorlang.backends.torch.home import home
from tensorlang.backends.torch.interface import Interface, axes_text
from tensorlang.backends.torch.names import Names, attribute, dotted, identifier, quoted
from tensorlang.backends.torch.operand import Value
from tensorlang.backends.torch.regions import Regions, tidied
from tensorlang.backends.torch.steps import Method, fresh_value
from tensorlang.check.dependence import axes_of
from tensorlang.check.program import Axis, Program
from tensorlang.plan.plan import Plan


def forward(method: Method, plan: Plan, name: str, forms: Sequence[tuple[str, str]]) -> list[str]:
    """The lines of a method, indented as in a class; `forms` are (signature, method) to go to."""
    program = plan.program
    names = Names(method.file.taken())
    form = names.fresh("form") if forms else ""
    variables = [names.fresh(given.name) for given in program.inputs]
    body = _body(method, plan, names, variables)
    interface = Interface(body, program, variables, checks=not program.signature)
    interface.bind()
    steps = Regions(method, plan, body, "_weights" if name == "forward" else f"_weights{name}")
    for region in plan.regions:
        steps.region(region)
    consts = {slot for _, slot, _ in plan.consts}  # callers may write into what they are given
    results = [
        interface.result(body.values[slot].text + ".clone()" * (slot in consts), axes)
        for slot, axes in zip(plan.outputs, _output_axes(program), strict=True)
    ]
    _return(body, results)
    lines, body.lines = body.lines, []
    for line in interface.head(lines):
        deeper = len(line) - len(line.lstrip())
        body.indent += deeper
        body.line(line.lstrip())
        body.indent -= deeper
    head = body.lines
    arguments = [f"{variable}: Tensor" for variable in variables]
    if forms:
        arguments.append(f'{form}: str = ""')
    kind = "Tensor" if len(results) == 1 else f"tuple[{', '.join(['Tensor'] * len(results))}]"
    body.lines, body.indent = [], 4
    body.line(f"def {name}({', '.join(['self', *arguments])}) -> {kind}:")
    out = body.lines
    out.append(f'        """{_signature_text(program)}"""')
    if name == "forward" and unset_params(program):
        out.append("        if self._unset:")
        out.append(f"            {method.file.require('_check_given')}(self)")
    for signature, other in forms:
        out.append(f"        if {form} == {quoted(signature)}:")
        out.append(f"            return self.{other}({', '.join(variables)})")
    out += head
    if head and lines and not lines[0].lstrip().startswith("return"):
        out.append("")
    return [*steps.methods, *out, *tidied(lines)]


def _return(body: Body, results: Sequence[str]) -> None:
    body.line(f"return {', '.join(results)}")


def _signature_text(program: Program) -> str:
    given = [f"{identifier(i.name)}[{axes_text(i.axes)}]" for i in program.inputs]
    made = [
        f"{identifier(name)}[{axes_text(axes)}]"
        for name, axes in zip(program.outputs, _output_axes(program), strict=True)
    ]
    return dotted(f"{', '.join(given)} -> {', '.join(made)}.", 84)


def _output_axes(program: Program) -> list[tuple[Axis, ...]]:
    axes = axes_of(program.body)
    return [axes[name] for name in program.outputs]


def _body(method: Method, plan: Plan, names: Names, variables: Sequence[str]) -> Body:
    program = plan.program
    body = Body(method.file, names, index_checks=method.options.index_checks)
    for slot, given, variable in zip(plan.inputs, program.inputs, variables, strict=True):
        shape = tuple(axis.size for axis in given.axes)
        body.values[slot] = fresh_value(variable, shape, given.dtype)
        body.source_names[slot] = given.name
        body.axis_names[slot] = tuple(" ".join(i.name for i in axis.indices) for axis in given.axes)
    by_name = {param.name: param for param in program.params}
    for name, slot in plan.params:
        param = by_name[name]
        shape = tuple(axis.size for axis in param.axes)
        memory = plan.stored.get(slot, tuple(range(len(shape))))
        body.values[slot] = Value(attribute(name), shape, memory, param.dtype)
        body.source_names[slot] = name
        body.axis_names[slot] = tuple(" ".join(i.name for i in axis.indices) for axis in param.axes)
    for name, slot, _ in plan.consts:
        leaf = plan.leaves[slot]
        body.values[slot] = fresh_value(method.consts[slot], leaf.shape, leaf.dtype)
        body.source_names[slot] = name
    body.device, body.dtype = home(plan, body)
    return body
