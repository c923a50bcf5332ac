"""Stage 1, what people write: steps, workflows, variants, keys.

A decorator records and returns a value; nothing here runs, compiles or stores anything.
"""
