"""Stage 2, functions and declarations to a checked graph.

Pure: it reads source text and looks at objects. It runs none of the user's code, waits for nothing, writes nothing.
"""

from awaitly.compile.bindings import bind_step
from awaitly.compile.program import compile_workflow, graph_of

__all__ = ["bind_step", "compile_workflow", "graph_of"]
