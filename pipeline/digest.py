"""SHA-256 digests of bytes and of JSON values in canonical form."""

import hashlib
import json
from typing import Any


def digest_of(value: Any) -> str:
    """Hex SHA-256 of bytes as they are, or of any JSON value with sorted keys."""
    if not isinstance(value, bytes):
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
        value = text.encode()
    return hashlib.sha256(value).hexdigest()
