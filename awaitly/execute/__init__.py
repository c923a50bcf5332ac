"""Stage 3, a graph and a journal to a run.

It is driven by the graph alone, so it imports neither the compiler nor the declarations.
"""
