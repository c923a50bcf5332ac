"""What helps to test workflows: virtual clock, overrides, crash points, store conformance.

It may import anything; nothing else in the package imports it.
"""
