import hashlib

import magic
from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.templatetags.static import static
from django.urls import path
from shop.models import Visit


def first(request):
    Visit.objects.create()
    return HttpResponse(f'<link rel="stylesheet" href="{static("shop.css")}"><p>Visit {Visit.objects.count()}</p>')


def about(request):
    """What only the right settings and the Debian package can say."""
    token = hashlib.sha256(settings.PAYMENT_TOKEN.encode()).hexdigest()
    return JsonResponse({"token": token, "type": magic.from_buffer(b"%PDF-1.7\n", mime=True)})


urlpatterns = [path("", first), path("about", about)]
