"""Stage 5, facts to logs, spans, numbers and health.

One adapter each; none knows another, and none can fail or delay what it watches.
"""
