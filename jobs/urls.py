"""The addresses of jobs, below /jobs/."""

from django.urls import path

from jobs import tus
from jobs.views import clusters, files, follow, listing, submit

app_name = "jobs"
urlpatterns = [
    path("", listing.jobs, name="list"),
    path("new/", submit.submit, name="submit"),
    path("new/check/", submit.check, name="check"),
    path("new/expected/", submit.expected, name="expected"),
    path("clusters/", clusters.clusters, name="clusters"),
    path("uploads/", tus.Collection.as_view(), name="uploads"),
    path("uploads/<uuid:pk>", tus.One.as_view(), name="upload"),
    path("fetches/<uuid:pk>/", files.fetch, name="fetch"),
    path("<int:pk>/", follow.detail, name="detail"),
    path("<int:pk>/news/", follow.news, name="news"),
    path("<int:pk>/side/", follow.side, name="side"),
    path("<int:pk>/log/<slug:stream>/", follow.log, name="log"),
    path("<int:pk>/cancel/", follow.cancel, name="cancel"),
    path("<int:pk>/files/<int:file_pk>/", files.file, name="file"),
    path("<int:pk>/files/<int:file_pk>/picture/", files.picture, name="picture"),
]
