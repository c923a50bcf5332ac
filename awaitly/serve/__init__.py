"""What is reachable over HTTP: health, metrics, webhooks, dashboard. Needs ``awaitly[serve]``.

ASGI applications around a runtime; they own no state.
"""

from awaitly.serve.application import app

__all__ = ["app"]
