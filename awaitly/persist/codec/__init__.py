"""Values to bytes and back, with their types.

Only annotations say which classes exist here: nothing that is stored can name a class to import. What the body of
a workflow receives has made the round trip already, so that a replay cannot give it anything else.
"""

from awaitly.persist.codec.arguments import ArgumentsCodec
from awaitly.persist.codec.failures import ErrorCodec
from awaitly.persist.codec.typed import Codec, codec_for

__all__ = ["ArgumentsCodec", "Codec", "ErrorCodec", "codec_for"]
