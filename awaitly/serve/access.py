"""Who may see details: whoever knows the token, or everybody if there is none."""

import hmac

from awaitly.errors import ConfigurationError


class Access:
    """Looks at what a request brings along.

    Args:
        token: What callers send as ``Authorization: Bearer``; None: nothing is secret.

    Raises:
        ConfigurationError: ``invalid-option``, for a token that nobody can send.
    """

    def __init__(self, token: str | None) -> None:
        if token is not None and (not token or token != token.strip() or not token.isprintable()):
            raise ConfigurationError(
                "the token of awaitly.serve.app is empty, or holds what a header cannot",
                hint="take a long random word, or None if everybody may see details",
                code="invalid-option",
            )
        self._token = None if token is None else token.encode()

    def granted(self, authorization: str | None) -> bool:
        """Return whether a request with this header, decoded as Latin-1, may see details."""
        if self._token is None:
            return True
        scheme, _, credentials = (authorization or "").partition(" ")
        given = credentials.strip().encode("latin-1", "replace")
        # The comparison takes as long for a wrong first character as for a wrong last one.
        return hmac.compare_digest(given, self._token) and scheme.lower() == "bearer"
