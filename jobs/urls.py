"""The addresses of jobs, below /jobs/."""

from django.urls import path

from jobs import tus
from jobs.views import (
    accounts,
    clusters,
    collecting,
    fences,
    files,
    follow,
    health,
    listing,
    maintenance,
    submit,
    unsent,
)

app_name = "jobs"
urlpatterns = [
    path("", listing.jobs, name="list"),
    path("new/", submit.submit, name="submit"),
    path("new/check/", submit.check, name="check"),
    path("new/expected/", submit.expected, name="expected"),
    path("clusters/", clusters.clusters, name="clusters"),
    path("health/", health.health, name="health"),
    path("health/nodes/<int:pk>/trust/", health.trust_node, name="trust_node"),
    path("unsent/", unsent.unsent, name="unsent"),
    path("unsent/<int:pk>/send-again/", unsent.send_again, name="send_again"),
    path("unsent/<int:pk>/give-up/", unsent.give_up, name="give_up"),
    path("clusters/<slug:name>/maintenance/", maintenance.maintenance, name="maintenance"),
    path(
        "clusters/<slug:name>/maintenance/<int:pk>/end/", maintenance.maintenance_end, name="maintenance_end"
    ),
    path("clusters/<slug:name>/", collecting.collecting, name="collecting"),
    path("clusters/<slug:name>/check/", collecting.check_again, name="check_again"),
    path("clusters/<slug:name>/fences/", fences.fences, name="fences"),
    path("accounts/<int:pk>/approve/", accounts.account_approve, name="account_approve"),
    path("uploads/", tus.Collection.as_view(), name="uploads"),
    path("uploads/<uuid:pk>", tus.One.as_view(), name="upload"),
    path("fetches/<uuid:pk>/", files.fetch, name="fetch"),
    path("<int:pk>/", follow.detail, name="detail"),
    path("<int:pk>/news/", follow.news, name="news"),
    path("<int:pk>/tasks/", follow.tasks, name="tasks"),
    path("<int:pk>/side/", follow.side, name="side"),
    path("<int:pk>/log/<slug:stream>/", follow.log, name="log"),
    path("<int:pk>/cancel/", follow.cancel, name="cancel"),
    path("<int:pk>/files/<int:file_pk>/", files.file, name="file"),
    path("<int:pk>/files/<int:file_pk>/picture/", files.picture, name="picture"),
]
