"""The web server's entry. All of the site is loaded here, before anybody waits for a page."""

import gc
import os
from importlib import import_module

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
application = get_wsgi_application()
import_module("portal.urls")  # and with it every view, which took the first page a second
gc.freeze()  # what is here stays: to look through it for garbage took a tenth of a second, in the middle of a page
