"""The request that a view gets: LoginRequiredMiddleware lets nobody through who isn't a person."""

from django.http import HttpRequest

from portal.models import User


class PersonRequest(HttpRequest):
    user: User
