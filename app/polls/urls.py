"""Addresses of the polls."""

from django.urls import path

from polls import views

app_name = "polls"

urlpatterns = [
    path("", views.index, name="index"),
    path("questions/<int:pk>/", views.question, name="question"),
    path("questions/<int:pk>/vote/", views.vote, name="vote"),
    path("questions/<int:pk>/results/", views.results, name="results"),
]
