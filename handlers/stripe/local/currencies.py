"""The currencies a price can have (docs.stripe.com/currencies, presentment currencies)."""

from __future__ import annotations

from handlers.stripe.local.errors import invalid
from handlers.stripe.local.reader import Reader

_PRESENTMENT = (
    "usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd "
    "cad cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd "
    "hkd hnl htg huf idr ils inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad "
    "mdl mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln "
    "pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std szl thb tjs tnd top try ttd twd tzs "
    "uah ugx uyu uzs vnd vuv wst xaf xcd xcg xof xpf yer zar zmw "
)
CURRENCIES = frozenset(_PRESENTMENT.split())


def read_currency(params: Reader) -> str:
    """Return the currency in lower case, as Stripe keeps it; raises Refusal (400) for an unknown one."""
    currency = params.required("currency").lower()
    if currency not in CURRENCIES:
        message = f"Invalid currency: {currency}. Stripe currently supports these currencies: "
        raise invalid(message + ", ".join(sorted(CURRENCIES)), params.full("currency"))
    return currency
