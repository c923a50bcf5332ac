"""The nouns: ids, facts, graphs, run states.

Frozen values only: nothing here does I/O, imports asyncio or reads a clock.
"""
