"""Running on a distributed engine that is already there.

One adapter per engine, which imports it at its top.
"""
