"""The addresses of projects, requests and reports."""

from django.urls import path

from accounting import views

app_name = "accounting"
urlpatterns = [
    path("projects/", views.projects, name="projects"),
    path("projects/<slug:slug>/", views.project, name="project"),
    path("projects/<slug:slug>/request/", views.request_new, name="request_new"),
    path("allocations/<int:pk>/statement/", views.statement, name="statement"),
    path("requests/", views.requests, name="requests"),
    path("requests/queue/", views.queue, name="queue"),
    path("requests/<int:pk>/", views.request_detail, name="request"),
    path("requests/<int:pk>/edit/", views.request_edit, name="request_edit"),
    path("requests/<int:pk>/submit/", views.request_submit, name="request_submit"),
    path("requests/<int:pk>/withdraw/", views.request_withdraw, name="request_withdraw"),
    path("requests/<int:pk>/decide/", views.request_decide, name="request_decide"),
    path("reports/", views.report, name="report"),
    path("reports/gpu-hours.csv", views.report_csv, name="report_csv"),
]
