"""Graphs and runs to pictures: Mermaid, SVG, terminal trees, HTML.

Pure: a value in, text or something printable out.
"""
