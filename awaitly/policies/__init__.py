"""How a call survives: each policy wraps a call.

A policy knows nothing of workflows or of the other policies and serves by itself.
"""
