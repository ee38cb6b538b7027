from django.contrib import admin
from django.urls import path
from notes.views import notes

urlpatterns = [path("", notes, name="notes"), path("admin/", admin.site.urls)]
