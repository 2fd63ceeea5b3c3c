"""Doorbells of the site itself. Each may ring twice, late or never: what is due is found in the database."""

from celery import shared_task

from portal import forgetting, mailing


@shared_task
def send_mails() -> None:
    mailing.send_waiting()


@shared_task
def forget() -> None:
    forgetting.forget_ended_sessions()
    forgetting.forget_unconfirmed_applications()
