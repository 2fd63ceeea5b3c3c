"""A new price of a partition, from a moment to come. One transaction, with `by`."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting.models import ChargeFactor, Partition
from portal.models import User
from portal.models.audit import record
from portal.permissions import Permission, check_permission
from portal.transitions import Overtaken


class InThePast(ValueError):
    """What ran is charged at the price that was in force: no new one reaches back."""

    def __str__(self) -> str:
        return _("This moment has passed. What has run keeps its price: choose one to come.")


@transaction.atomic
def set_factor(*, by: User, partition: Partition, factor: Decimal, valid_from: datetime) -> ChargeFactor:
    """Charge `factor` GPU-seconds for each of those that start from `valid_from` on. Raises InThePast, or Overtaken."""
    check_permission(by, Permission.SET_PRICES)
    if valid_from <= timezone.now():
        raise InThePast
    try:
        with transaction.atomic():
            price = ChargeFactor.objects.create(partition=partition, factor=factor, valid_from=valid_from)
    except IntegrityError:
        raise Overtaken(_("This partition has a price from that moment on already.")) from None
    record(
        "price set",
        price,
        by=by,
        cluster=partition.cluster.name,
        partition=partition.name,
        factor=f"{factor.normalize():f}",
        valid_from=valid_from.isoformat(),
    )
    return price
