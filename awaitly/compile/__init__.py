"""Stage 2, functions and declarations to a checked graph.

Pure: it reads source code and returns values, and never calls what it reads. One diagnostic rule per function.
"""
