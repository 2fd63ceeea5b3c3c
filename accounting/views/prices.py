"""What an hour of each partition costs, since when, and from when on it will cost something else."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting.actions.prices import InThePast, set_factor
from accounting.forms.putting_right import PriceForm
from accounting.models import ChargeFactor, Cluster
from portal.lists import form_page, page_of
from portal.permissions import Permission, check_permission
from portal.reauthentication import confirm_again
from portal.requests import PersonRequest
from portal.transitions import Overtaken


@form_page
@confirm_again
def prices(request: PersonRequest, name: str) -> HttpResponse:
    check_permission(request.user, Permission.SET_PRICES)
    cluster = get_object_or_404(Cluster, name=name)
    form = PriceForm(request.POST if request.method == "POST" else None, partitions=cluster.partitions.all())
    if form.is_valid() and _set(request, form):
        return redirect("accounting:prices", cluster.name)
    rows = ChargeFactor.objects.filter(partition__cluster=cluster).select_related("partition")
    page = page_of(request, rows.order_by("-valid_from", "partition__name"))
    context = {"cluster": cluster, "form": form, "page": page, "now": timezone.now()}
    return render(request, "accounting/prices.html", context)


def _set(request: PersonRequest, form: PriceForm) -> bool:
    try:
        price = set_factor(by=request.user, **form.cleaned_data)
    except (InThePast, Overtaken) as late:
        form.add_error("valid_from", str(late))
        return False
    words = {"partition": price.partition, "factor": f"{price.factor.normalize():f}"}
    messages.success(request, _("From that day on, %(partition)s costs %(factor)s.") % words)
    return True
