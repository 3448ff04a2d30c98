"""What was planned for a layer and why: costs at given sizes, steps, regions, rewrites, the graph.

`facts` collects, `costs` adds up, `words` says how, `text` and `data` show.
"""

from tensorlang.explanation.compiled import explain, explain_compiled
from tensorlang.explanation.facts import Explanation
from tensorlang.explanation.shapes import bind_shapes

__all__ = ["Explanation", "bind_shapes", "explain", "explain_compiled"]
