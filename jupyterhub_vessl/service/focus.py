"""The ledger as FOCUS 1.2, the FinOps Open Cost and Usage Specification.  Pure.

How prepaid credits are told in its words:

* a top-up is a ``Purchase`` that covers charges to come: it has a BilledCost, and an EffectiveCost of 0;
* ``Usage`` was paid for before: its EffectiveCost is what it costs, its BilledCost 0;
* what a grant pays for is a ``Credit`` that takes the same off the EffectiveCost;
* grants, their ends and opening credits cost nobody anything: zero, so that every transaction has its row.

So BilledCost sums to what was paid, EffectiveCost to what was used less promotions, and ``x_CreditAmount`` to how
the credits moved.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timezone

from ..ledger.statements import Line
from ..model.limits import month_start_ms
from ..model.money import DAY_MS, HOUR_MS
from ..model.units import GIB, format_bytes
from ..model.usage import COMPUTE, STORAGE, day_start_ms

PROVIDER = "jupyterhub-vessl"
COLUMNS = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "SkuMeter",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
    "x_CreditAmount",
    "x_State",
    "x_TransactionId",
    "x_TransactionKind",
)
"""Columns in the order of the file.  Missing values are null: an empty cell."""

NUMBERS = frozenset(
    {
        "BilledCost",
        "ConsumedQuantity",
        "ContractedCost",
        "ContractedUnitPrice",
        "EffectiveCost",
        "ListCost",
        "ListUnitPrice",
        "PricingQuantity",
        "x_CreditAmount",
    }
)


@dataclass(frozen=True)
class Account:
    """The organization that is billed, and the titles of its teams."""

    id: str
    title: str
    currency: str
    teams: dict[str, str] = field(default_factory=dict)


def decimal(micros: int) -> str:
    """Micro-credits as an exact number with six places: ``-12.500000``."""
    whole, rest = divmod(abs(micros), 1_000_000)
    return f"{'-' if micros < 0 else ''}{whole}.{rest:06d}"


def quantity(amount: int, of: int, places: int = 12) -> str:
    """``amount / of`` as a number, rounded to some places; trailing zeros left out."""
    scale = 10**places
    scaled = (2 * abs(amount) * scale + of) // (2 * of)
    whole, rest = divmod(scaled, scale)
    text = f"{'-' if amount < 0 and scaled else ''}{whole}.{rest:0{places}d}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def row(line: Line, account: Account) -> dict[str, str]:
    """One line as FOCUS columns; those that are null are left out."""
    values = {
        "BillingAccountId": account.id,
        "BillingAccountName": account.title,
        "BillingAccountType": "Organization",
        "BillingCurrency": account.currency,
        "InvoiceIssuerName": PROVIDER,
        "ProviderName": PROVIDER,
        "PublisherName": PROVIDER,
        "x_CreditAmount": decimal(line.amount_micros),
        "x_State": "Booked" if line.booked else "Open",
        "x_TransactionId": line.id,
        "x_TransactionKind": line.kind,
    }
    values |= _usage(line) if line.usage else _money(line)
    values |= _periods(line)
    if line.team:
        title = account.teams.get(line.team, line.team)
        values |= {"SubAccountId": line.team, "SubAccountName": title, "SubAccountType": "Team"}
    if line.person:
        # tags of the provider carry its prefix
        values["Tags"] = json.dumps({"vessl/user": line.person}, ensure_ascii=False)
    return values


def _costs(billed: int, effective: int, listed: int) -> dict[str, str]:
    return {
        "BilledCost": decimal(billed),
        "EffectiveCost": decimal(effective),
        "ListCost": decimal(listed),
        "ContractedCost": decimal(listed),
    }


def _usage(line: Line) -> dict[str, str]:
    cost = -line.amount_micros
    used_ms = (line.to_ms or 0) - (line.from_ms or 0)
    if line.kind == "correction":
        used_ms = -used_ms
    price = decimal(line.rate_micros_per_hour or 0)
    storage = line.usage == STORAGE
    size = format_bytes(line.size_bytes)
    sku = f"{STORAGE}/{line.item}" if storage else line.item
    values = _costs(0, cost, cost) | {
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ListUnitPrice": price,
        "ContractedUnitPrice": price,
        "PricingCategory": "Standard",
        "PricingQuantity": quantity(used_ms, HOUR_MS),
        "PricingUnit": "Hours",
        "ConsumedQuantity": quantity(used_ms * line.size_bytes, HOUR_MS * GIB) if storage else _hours(used_ms),
        "ConsumedUnit": "GiB-Hours" if storage else "Hours",
        "ServiceCategory": "Storage" if storage else "Compute",
        "ServiceName": "Volumes" if storage else "Workspaces",
        "SkuId": sku,
        "SkuMeter": "Storage" if storage else "Compute",
        # the price of an hour of storage is that of its size
        "SkuPriceId": f"{sku}/{size}" if storage else sku,
    }
    what = f"{line.usage} {line.item}, {size}" if storage else f"{COMPUTE} {line.item}"
    said = {"correction": "Taken back: "}.get(line.kind, "")
    values["ChargeDescription"] = f"{said}{what}, {price} per hour ({line.reason})"
    if line.workspace_id:
        values |= {"ResourceId": line.workspace_id, "ResourceType": "Workspace"}
        if line.workspace_title:
            values["ResourceName"] = line.workspace_title
    else:
        values |= {"ResourceId": line.item, "ResourceName": line.item, "ResourceType": "Volume"}
    return values


def _hours(used_ms: int) -> str:
    return quantity(used_ms, HOUR_MS)


def _money(line: Line) -> dict[str, str]:
    values = {
        "ChargeFrequency": "One-Time",
        "ChargeDescription": f"{line.kind.capitalize()}: {line.reason or line.source or line.kind}",
        "ServiceCategory": "Other",
        "ServiceName": "Credits",
    }
    if line.kind in ("top-up", "refund"):
        return (
            values
            | _costs(line.amount_micros, 0, line.amount_micros)
            | {
                "ChargeCategory": "Purchase",
                "ListUnitPrice": "1.000000",
                "ContractedUnitPrice": "1.000000",
                "PricingCategory": "Standard",
                "PricingQuantity": decimal(line.amount_micros),
                "PricingUnit": "Credits",
                "SkuId": "credits",
                "SkuMeter": "Credits",
                "SkuPriceId": "credits",
            }
        )
    category = "Credit" if line.kind in ("grant", "draw", "expiry", "void") else "Adjustment"
    return values | _costs(0, -line.drawn_micros, -line.drawn_micros) | {"ChargeCategory": category}


def _periods(line: Line) -> dict[str, str]:
    """Half-open periods.  What happens at an instant is charged for its UTC day; the billing period is a UTC month."""
    # what a draw covers ends at its instant, which is a midnight when a day closes
    at_ms = line.at_ms - 1 if line.kind == "draw" else line.at_ms
    if line.usage and line.from_ms is not None and line.to_ms is not None:
        from_ms, to_ms = line.from_ms, line.to_ms
        billed_ms = at_ms if line.kind == "correction" else from_ms
    else:
        from_ms = day_start_ms(at_ms)
        to_ms, billed_ms = from_ms + DAY_MS, from_ms
    month_ms = month_start_ms(billed_ms)
    values = {
        "BillingPeriodStart": instant(month_ms),
        "BillingPeriodEnd": instant(month_start_ms(month_ms + 32 * DAY_MS)),
        "ChargePeriodStart": instant(from_ms),
        # whole seconds; a charge of less than one still has a period
        "ChargePeriodEnd": instant(max(to_ms, from_ms - from_ms % 1000 + 1000)),
    }
    if line.corrected_ms is not None and line.corrected_ms < month_ms:
        values["ChargeClass"] = "Correction"
    return values


def instant(at_ms: int) -> str:
    """An instant as FOCUS writes it, cut to the second: ``2026-11-01T00:00:00Z``."""
    return datetime.fromtimestamp(at_ms // 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
