"""One adapter per store, each implementing the ports that it can.

Adapters do not know one another, and each optional driver is imported by one of them, at its top.
"""
