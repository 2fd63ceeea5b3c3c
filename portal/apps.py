from importlib import import_module

from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "portal"

    def ready(self) -> None:
        # The web processes ring doorbells too: without this, shared tasks would ring Celery's default
        # broker. Not at the top of the file: the app reads settings that aren't there yet at that time.
        import_module("portal.celery")
