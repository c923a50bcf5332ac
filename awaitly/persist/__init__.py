"""Stage 4, facts to bytes and back: ports, codec, stores.

It depends on the model alone and knows nothing of what produces or reads the facts.
"""
