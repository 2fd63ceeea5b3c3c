"""The addresses of jobs, below /jobs/."""

from django.urls import path

from jobs import tus

app_name = "jobs"
urlpatterns = [
    path("uploads/", tus.Collection.as_view(), name="uploads"),
    path("uploads/<uuid:pk>", tus.One.as_view(), name="upload"),
]
