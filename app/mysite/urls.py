"""Addresses of the site."""

from django.conf import settings
from django.conf.urls.static import static as serve_folder
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import include, path

admin.site.site_header = "Polls: behind the scenes"
admin.site.site_title = "Polls admin"
admin.site.index_title = "What is there to manage"


def favicon(_request: HttpRequest) -> HttpResponse:
    """Lead clients that ask for the icon without having read a page to the one that pages name."""
    return redirect(static("polls/favicon.svg"))


urlpatterns = [
    path("", include("polls.urls")),
    path("admin/", admin.site.urls),
    path("favicon.ico", favicon),
    # Local development only: empty unless DEBUG, and in the cloud MEDIA_URL plays no part.
    *serve_folder(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
