"""Typed, durable, observable workflows from ordinary async functions."""
