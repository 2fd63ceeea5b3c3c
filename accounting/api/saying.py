"""What stands against a deed, said to programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import exceptions
from rest_framework.serializers import as_serializer_error

from accounting.actions.missing import Unfinished


def said(deed: Callable[..., Any], **told: Any) -> Any:
    """Do it, and say by problem documents what stands against it."""
    try:
        return deed(**told)
    except Unfinished as unfinished:
        sentences = {field or "non_field_errors": [text] for field, text in unfinished.sentences.items()}
        raise exceptions.ValidationError(sentences) from None
    except ValidationError as error:
        raise exceptions.ValidationError(as_serializer_error(error)) from None
