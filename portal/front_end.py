"""Of the front-end packages, only what pages ask for: they hold thousands of files more, each of which would be
hashed and compressed at every deployment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.conf import settings
from django.contrib.staticfiles.finders import FileSystemFinder
from django.core.files.storage import Storage


class PackageFinder(FileSystemFinder):
    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, Storage]]:
        wanted = {name for file in settings.FRONT_END_FILES for name in (file, f"{file}.map")}
        for path, storage in super().list(ignore_patterns):
            if f"{getattr(storage, 'prefix', '')}/{path}" in wanted:
                yield path, storage
