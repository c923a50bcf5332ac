"""Facts for other systems: delivered over HTTP, signed, at least once.

Follows the store, not the process: what is delivered is committed, whoever executed the run.
"""

from awaitly.webhooks.outbox import Outbox
from awaitly.webhooks.posting import Answer, DeliveryFailed
from awaitly.webhooks.signing import SIGNATURE, sign, verify

__all__ = ["SIGNATURE", "Answer", "DeliveryFailed", "Outbox", "sign", "verify"]
