"""tus 1.0.0 (https://tus.io/protocols/resumable-upload): what the protocol says, turned into `jobs.uploads` and back.

Core, creation, creation-with-upload, checksum, expiration, termination. Every refusal is a problem document
whose `detail` is a sentence for the person. Someone else's upload does not exist.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import logging
import re
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.http import http_date
from django.utils.translation import gettext as _
from django.views import View

from jobs import uploads
from jobs.models import Upload
from portal.api import not_found_document
from portal.models import User
from portal.words import filesize

log = logging.getLogger(__name__)

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
ALGORITHMS = ("sha256", "sha1")
OCTETS = "application/offset+octet-stream"
WRONG_CHECKSUM = 460
NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
METADATA_CAP = 16_384
METHODS = ("POST", "HEAD", "PATCH", "DELETE")


class Problem(Exception):
    """The request can't be done: the status, and a sentence for the person."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@method_decorator(
    login_not_required, name="dispatch"
)  # a client of the protocol can't follow us to the log-in page
class Tus(View):
    """The collection creates; one upload is asked, continued and removed."""

    http_method_names = ["options", "post", "head", "patch", "delete"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            _override_method(request)
            if request.method != "OPTIONS":
                _check_version(request)
                _person(request)
            response = super().dispatch(request, *args, **kwargs)
        except Problem as problem:
            response = _refusal(problem)
        except PermissionDenied as refused:
            response = _refusal(Problem(403, str(refused)))
        except Http404:
            response = not_found_document()
        response["Tus-Resumable"] = VERSION
        response["Cache-Control"] = "no-store"
        return response

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return _answer(
            204,
            tus_version=VERSION,
            tus_extension=EXTENSIONS,
            tus_max_size=settings.UPLOAD_MAX_BYTES,
            tus_checksum_algorithm=",".join(ALGORITHMS),
        )


class Collection(Tus):
    http_method_names = ["options", "post"]

    def post(self, request: HttpRequest) -> HttpResponse:
        size = _size(request)
        path = _path(request)
        length = _content_length(request) if request.content_type == OCTETS else 0
        if length > size:
            raise Problem(413, _("More bytes were sent than the file has."))
        upload = _begin(request, path, size)
        if length:
            try:
                _append(request, upload, at=0, length=length)
            except Problem:
                uploads.remove(upload)  # the client never learned its address
                raise
        return _answer(201, location=f"{request.path.rstrip('/')}/{upload.pk}", **_standing(upload))


class One(Tus):
    http_method_names = ["options", "head", "patch", "delete"]

    def head(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        upload = _mine(request, pk)
        name = base64.b64encode(upload.path.encode()).decode()
        return _answer(
            200, upload_length=upload.size, upload_metadata=f"filename {name}", **_standing(upload)
        )

    def patch(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        upload = _mine(request, pk)
        if request.content_type != OCTETS:
            raise Problem(415, _("A piece of a file is sent as %(type)s.") % {"type": OCTETS})
        at = _number(request, "Upload-Offset")
        if at != upload.offset:
            raise _wrong_offset(upload)
        length = _content_length(request)
        if length > upload.size - at:
            raise Problem(413, _("More bytes were sent than the file has."))
        _append(request, upload, at=at, length=length)
        return _answer(204, **_standing(upload))

    def delete(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        try:
            uploads.remove(_mine(request, pk))
        except uploads.InUse as refused:
            raise Problem(409, refused.sentence) from refused
        return _answer(204)


# ── Doing ───────────────────────────────────────────────────────────────────


def _begin(request: HttpRequest, path: str, size: int) -> Upload:
    try:
        return uploads.begin(by=_person(request), path=path, size=size)
    except uploads.TooLarge as refused:
        raise Problem(413, refused.sentence) from refused
    except uploads.Refused as refused:
        raise Problem(400, refused.sentence) from refused


def _append(request: HttpRequest, upload: Upload, *, at: int, length: int) -> None:
    checksum = _checksum(request)
    try:
        uploads.append(upload, at=at, length=length, read=request.read, checksum=checksum)
    except uploads.Busy as busy:
        raise Problem(
            423, _("Another connection is sending this file just now. Try again in a moment.")
        ) from busy
    except uploads.WrongOffset as wrong:
        raise _wrong_offset(upload) from wrong
    except uploads.WrongChecksum as wrong:
        raise Problem(WRONG_CHECKSUM, _("This piece was damaged on its way. Send it again.")) from wrong
    except FileNotFoundError as gone:
        log.warning("upload %s has a row but no file", upload.pk)
        raise Problem(410, _("The portal no longer has this file. Upload it again.")) from gone
    except UnreadablePostError as cut:
        raise Problem(400, _("The connection broke. What arrived is kept.")) from cut
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        log.exception("no space left for uploads")
        raise Problem(507, _("The portal's disk is full. What arrived is kept; try again later.")) from error


def _mine(request: HttpRequest, pk: UUID) -> Upload:
    upload = Upload.objects.filter(pk=pk, owner=request.user.pk).first()
    if upload is None:
        raise Http404
    if upload.expires_at <= timezone.now():
        raise Problem(410, _("This upload was not used in time and is gone. Upload the file again."))
    return upload


# ── Reading the request ─────────────────────────────────────────────────────


def _override_method(request: HttpRequest) -> None:
    """The protocol's way round proxies that pass only GET and POST. Only a POST may be turned: it has passed CSRF."""
    wanted = request.headers.get("X-HTTP-Method-Override", "").upper()
    if request.method == "POST" and wanted in METHODS:
        request.method = wanted


def _check_version(request: HttpRequest) -> None:
    if request.headers.get("Tus-Resumable") != VERSION:
        raise Problem(
            412,
            _("This address speaks tus %(version)s: name it in Tus-Resumable.") % {"version": VERSION},
            Tus_Version=VERSION,
        )


def _person(request: HttpRequest) -> User:
    if not request.user.is_authenticated:
        raise Problem(
            401, _("You are logged out. Log in in another tab, then try again: what arrived is kept.")
        )
    return request.user


def _size(request: HttpRequest) -> int:
    if "Upload-Defer-Length" in request.headers:
        raise Problem(400, _("The size of a file must be known when its upload begins."))
    if "Upload-Concat" in request.headers:
        raise Problem(400, _("Joining several uploads into one is not supported."))
    size = request.headers.get("Upload-Length", "")
    if size.isascii() and size.isdigit() and not NUMBER.fullmatch(size):
        raise Problem(
            413,
            _("This file is too large: one file may have %(limit)s.")
            % {"limit": filesize(settings.UPLOAD_MAX_BYTES)},
        )
    return _number(request, "Upload-Length")


def _number(request: HttpRequest, header: str) -> int:
    value = request.headers.get(header, "")
    if not NUMBER.fullmatch(value):
        raise Problem(400, _("%(header)s must be a whole number of bytes.") % {"header": header})
    return int(value)


def _content_length(request: HttpRequest) -> int:
    value = request.META.get("CONTENT_LENGTH") or ""
    if not NUMBER.fullmatch(value):
        raise Problem(411, _("Content-Length must say how many bytes are sent."))
    return int(value)


def _path(request: HttpRequest) -> str:
    metadata = _metadata(request.headers.get("Upload-Metadata", ""))
    path = metadata.get("filename", "")
    if not path:
        raise Problem(400, _("Upload-Metadata must name the file: filename, then its path in base64."))
    return path


def _metadata(header: str) -> dict[str, str]:
    """ "filename ZGF0YS5jc3Y=,filetype dGV4dC9jc3Y=" as texts by key."""
    if len(header) > METADATA_CAP:
        raise Problem(400, _("Upload-Metadata is too long."))
    metadata: dict[str, str] = {}
    for pair in filter(None, (pair.strip() for pair in header.split(","))):
        key, _blank, value = pair.partition(" ")
        try:
            text = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, ValueError) as error:
            raise Problem(
                400, _("Upload-Metadata can't be read: each value must be UTF-8 text in base64.")
            ) from error
        if key in metadata:
            raise Problem(400, _("Upload-Metadata names something twice."))
        metadata[key] = text
    return metadata


def _checksum(request: HttpRequest) -> uploads.Checksum | None:
    header = request.headers.get("Upload-Checksum")
    if header is None:
        return None
    algorithm, _blank, value = header.partition(" ")
    if algorithm not in ALGORITHMS:
        raise Problem(400, _("Upload-Checksum must be one of: %(known)s.") % {"known": ", ".join(ALGORITHMS)})
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(400, _("Upload-Checksum can't be read: the digest must be in base64.")) from error
    if len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise Problem(
            400, _("Upload-Checksum has the wrong length for %(algorithm)s.") % {"algorithm": algorithm}
        )
    return uploads.Checksum(algorithm, digest)


# ── Answering ───────────────────────────────────────────────────────────────


def _standing(upload: Upload) -> dict[str, str | int]:
    return {"upload_offset": upload.offset, "upload_expires": http_date(upload.expires_at.timestamp())}


def _wrong_offset(upload: Upload) -> Problem:
    upload.refresh_from_db(fields=["offset"])
    return Problem(409, _("The file is at byte %(offset)s: go on from there.") % {"offset": upload.offset})


def _answer(status: int, **headers: str | int) -> HttpResponse:
    response = HttpResponse(status=status)
    del response["Content-Type"]
    for name, value in headers.items():
        response[name.replace("_", "-").title()] = str(value)
    return response


def _refusal(problem: Problem) -> HttpResponse:
    title = "Checksum Mismatch" if problem.status == WRONG_CHECKSUM else HTTPStatus(problem.status).phrase
    document = {"type": "about:blank", "title": title, "status": problem.status, "detail": problem.detail}
    return JsonResponse(
        document, status=problem.status, content_type="application/problem+json", headers=problem.headers
    )
