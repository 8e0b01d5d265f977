"""How records are read back."""

from __future__ import annotations

from typing import Any

# Unknown keys in a stored record are refused, not dropped: they would mean a newer or a damaged file.
STRICT: dict[str, Any] = {"extra": "forbid"}
