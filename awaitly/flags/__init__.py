"""Providers of feature flags.

A provider answers a question; recording the answer is the run's business.
"""
