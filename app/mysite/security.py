"""The Content-Security-Policy: pages load nothing but our own files, static files and media, and run no inline code."""

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse


def origin(url: str) -> str:
    """Scheme and host of an absolute URL; empty for a path, which is the site's own."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def content_security_policy(*, static: str, media: str) -> str:
    """Header value that allows the site itself, the origin of static files and the origin of media."""
    ours = " ".join(filter(None, ("'self'", static)))
    images = " ".join(filter(None, (ours, media, "data:")))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {ours}",
            f"style-src {ours}",
            f"font-src {ours}",
            f"img-src {images}",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ),
    )


class ContentSecurityPolicyMiddleware:
    """Adds the policy to every response. Django brings its own from 6.0 on; 5.2, the LTS, does not."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer with the header set; Django's own pages about an error, which DEBUG shows, have inline styles."""
        response = self.get_response(request)
        if settings.DEBUG and response.status_code in {404, 500}:
            return response
        response.headers.setdefault("Content-Security-Policy", settings.CONTENT_SECURITY_POLICY)
        return response
