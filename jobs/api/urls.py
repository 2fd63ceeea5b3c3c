"""Addresses below /api/v1/."""

from django.urls import path
from rest_framework import routers

from jobs import tus
from jobs.api.accounts import ClusterAccounts
from jobs.api.clusters import ClusterCollecting
from jobs.api.jobs import Jobs, Quote
from jobs.api.upkeep import ClusterMaintenances, Health, LoginNodes, Maintenances, Unsent

router = routers.SimpleRouter()
router.register("jobs", Jobs)
router.register("clusters", ClusterCollecting, basename="cluster-collecting")
router.register("cluster-accounts", ClusterAccounts)
router.register("clusters", ClusterMaintenances, basename="cluster-maintenance")
router.register("maintenance", Maintenances)
router.register("login-nodes", LoginNodes, basename="login-node")
router.register("unsent", Unsent, basename="unsent")
urlpatterns = [
    *router.urls,
    path("health/", Health.as_view(), name="health"),
    path("quote/", Quote.as_view(), name="quote"),
    path("uploads/", tus.Collection.as_view(), name="uploads"),
    path("uploads/<uuid:pk>", tus.One.as_view(), name="upload"),
]
