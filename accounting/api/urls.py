"""The addresses of the API of projects, hours, requests and usage, below /api/v1/."""

from django.urls import path
from rest_framework import routers

from accounting.api.allocations import Allocations
from accounting.api.asking import Requests
from accounting.api.calls import Calls
from accounting.api.closing import LabsClosing, ProjectsClosing
from accounting.api.clusters import Clusters
from accounting.api.months import ClusterMonths
from accounting.api.policies import Policies
from accounting.api.projects import Projects
from accounting.api.putting_right import Corrections, Differences, Refunds
from accounting.api.quarantine import Quarantine
from accounting.api.reconciling import Discrepancies, Reconciliations
from accounting.api.reviews import Decisions
from accounting.api.technical_reviews import RequestReviews, TechnicalReviews
from accounting.api.usage import Usage
from accounting.api.usage_corrections import CorrectionsReport

router = routers.SimpleRouter()
router.register("clusters", Clusters)
router.register("clusters", ClusterMonths, basename="cluster-months")
router.register("quarantine", Quarantine)
router.register("projects", Projects)
router.register("projects", ProjectsClosing, basename="project-closing")
router.register("labs", LabsClosing, basename="lab-closing")
router.register("allocations", Allocations)
router.register("requests", Requests)
router.register("requests", Decisions, basename="decision")
router.register("requests", RequestReviews, basename="requestreview")
router.register("technical-reviews", TechnicalReviews)
router.register("calls", Calls)
router.register("refunds", Refunds, basename="refund")
router.register("corrections", Corrections, basename="correction")
router.register("differences", Differences, basename="difference")
router.register("discrepancies", Discrepancies)
router.register("reconciliations", Reconciliations)
router.register("policies", Policies, basename="policy")
urlpatterns = [
    *router.urls,
    path("usage/", Usage.as_view(), name="usage"),
    path("usage-corrections/", CorrectionsReport.as_view(), name="usage_corrections"),
]
