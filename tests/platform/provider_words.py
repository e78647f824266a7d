"""Two payment providers, and what they say of a payment."""

from __future__ import annotations

import json
from typing import Any

from gkmd.core.secret import SecretBytes
from gkmd.group.platform.records import Payment
from gkmd.group.platform.settings import ProviderSettings

SECRET = SecretBytes(b"a secret of the provider")
OTHER = SecretBytes(b"a secret of somebody else")
PROVIDERS = (ProviderSettings("pay", "webhook", SECRET), ProviderSettings("other", "webhook", OTHER))


def body(payment: Payment, kind: str, /, **changed: Any) -> bytes:
    said = {
        "event": f"{payment.id}-{kind}",
        "payment": payment.id,
        "external": f"x-{payment.id}",
        "kind": kind,
        "amount": payment.amount,
        "currency": payment.currency,
    }
    return json.dumps(said | changed).encode()
