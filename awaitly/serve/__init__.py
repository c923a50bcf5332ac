"""What is reachable over HTTP: health, metrics, webhooks, dashboard.

ASGI applications around a runtime; they own no state.
"""
