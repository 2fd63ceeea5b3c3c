"""The worker's and the beat's entry: `celery -A portal worker`, `celery -A portal beat`.

The database is the only truth; a message is a doorbell that may ring twice, late or never.
"""

import gc
import os

from celery import Celery
from celery.schedules import crontab
from celery.signals import task_prerun, worker_process_init
from django.conf import settings
from django.db import close_old_connections
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("portal")
app.conf.update(
    broker_url=settings.REDIS_URL,
    task_ignore_result=True,  # what a task did is in the database; there is nothing to fetch
    task_serializer="json",
    accept_content=["json"],  # a forged message can only be an id
    task_acks_late=True,  # a killed worker's task rings again …
    task_reject_on_worker_lost=True,  # … instead of being lost with it
    worker_prefetch_multiplier=1,  # no job waits behind a long upload that another worker could pass
    # A member's long upload must not keep others from seeing their jobs: what moves files has a queue, and in
    # production a worker, of its own. A worker that is not told its queues (-Q) serves both.
    task_queues=[Queue("celery"), Queue("files")],
    task_routes={"jobs.tasks.dispatch": {"queue": "files"}, "jobs.tasks.bring_file": {"queue": "files"}},
    task_time_limit=3600,  # nothing hangs for ever: longer than the longest upload we allow
    broker_transport_options={
        "visibility_timeout": 2 * 3600,  # above the longest task, or it would run twice at once
        "socket_timeout": 5,  # a silent Redis does not hold up a person's submit
        "socket_connect_timeout": 2,
        "max_retries": 0,  # nor does an absent one: kombu would try for six seconds (workers have their own figure)
    },
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # a worker waits for Redis for ever
    task_publish_retry=False,  # a ring that fails is made good by the sweep; the page does not wait
    worker_hijack_root_logger=False,
    beat_scheduler="jobs.clock:Clock",  # the usual one, which also notes that it is alive
    timezone="UTC",
    beat_schedule={
        # Both kinds of workers are rung, so that the staff's page knows which of them is dead.
        "note worker": {
            "task": "jobs.tasks.note_worker",
            "schedule": 10.0,
            "args": ("quick",),
            "options": {"expires": 10},
        },
        "note worker for files": {
            "task": "jobs.tasks.note_worker",
            "schedule": 10.0,
            "args": ("files",),
            "options": {"expires": 10, "queue": "files"},
        },
        "sync clusters": {"task": "jobs.tasks.sync_clusters", "schedule": 1.0, "options": {"expires": 1}},
        "sweep": {"task": "jobs.tasks.sweep", "schedule": 10.0, "options": {"expires": 10}},
        "collect records": {
            "task": "jobs.tasks.collect_records",
            "schedule": 60.0,
            "options": {"expires": 60},
        },
        "reconcile": {"task": "jobs.tasks.reconcile", "schedule": crontab(hour=4, minute=10)},
        "reconcile last month": {
            "task": "jobs.tasks.reconcile_last_month",
            "schedule": crontab(day_of_month=9, hour=4, minute=40),
        },
        "keep fences": {"task": "jobs.tasks.keep_fences", "schedule": 30.0, "options": {"expires": 30}},
        "send mails": {"task": "portal.tasks.send_mails", "schedule": 60.0, "options": {"expires": 60}},
        "forget": {"task": "portal.tasks.forget", "schedule": crontab(hour=3, minute=20)},
        "close months": {"task": "accounting.tasks.close_months", "schedule": 3600.0},
        "keep allocations": {"task": "accounting.tasks.keep_allocations", "schedule": 3600.0},
        "check balances": {"task": "jobs.tasks.check_balances", "schedule": crontab(hour=2, minute=40)},
        "clear old uploads": {"task": "jobs.tasks.clear_old_uploads", "schedule": 3600.0},
    },
)
# Celery would connect to the database anew for every task, which takes longer than most. As for a page, a connection is
# kept for its time, and one that has died is noticed before the first query.
app.conf["CELERY_DB_REUSE_MAX"] = 1_000_000
task_prerun.connect(lambda **_: close_old_connections(), weak=False)
# As in portal.wsgi: what is loaded stays, and is looked through for garbage in the middle of no task.
worker_process_init.connect(lambda **_: gc.freeze(), weak=False)

app.autodiscover_tasks()
