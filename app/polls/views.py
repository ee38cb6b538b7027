"""The pages: all questions, one question, its vote, its result."""

from django.contrib import messages
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from polls.forms import VoteForm
from polls.models import Choice, Question


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """All published questions, newest first."""
    return render(request, "polls/index.html", {"questions": Question.objects.published().with_votes()})


@require_safe
def question(request: HttpRequest, pk: int) -> HttpResponse:
    """One question with its choices."""
    asked = get_object_or_404(Question.objects.published(), pk=pk)
    return render(request, "polls/question.html", {"question": asked, "form": VoteForm(asked)})


@require_POST
def vote(request: HttpRequest, pk: int) -> HttpResponse:
    """Count one vote and go to the result, so that reloading that page does not vote again."""
    asked = get_object_or_404(Question.objects.published(), pk=pk)
    form = VoteForm(asked, request.POST)
    # A choice that an editor deletes between the check and the count is an answer that is no longer there.
    if form.is_valid() and not form.cleaned_data["choice"].count_vote():
        form.add_error("choice", form.fields["choice"].error_messages["invalid_choice"])
    if not form.is_valid():
        return render(request, "polls/question.html", {"question": asked, "form": form}, status=422)
    messages.success(request, f"Your vote for “{form.cleaned_data['choice']}” is counted.")
    return redirect("polls:results", pk=asked.pk)


@require_safe
def results(request: HttpRequest, pk: int) -> HttpResponse:
    """How the votes are shared out now."""
    published = Question.objects.published().with_votes().prefetch_related(Prefetch("choices", Choice.objects.all()))
    return render(request, "polls/results.html", {"question": get_object_or_404(published, pk=pk)})
