"""Questions in the admin: choices inline, the image as visitors see it, votes to look at but not to touch."""

from typing import ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import BaseInlineFormSet, ModelForm
from django.http import HttpRequest
from django.utils.html import format_html

from polls.models import Choice, Question


class ChoiceInline(admin.TabularInline):
    """The answers of a question."""

    model = Choice
    extra = 2
    fields = ("text", "votes")
    readonly_fields = ("votes",)


@admin.register(Question)
class QuestionAdmin(admin.ModelAdmin):
    """One page for a question and its answers."""

    list_display = ("text", "published_at", "total_votes", "thumbnail")
    search_fields = ("text", "choices__text")
    date_hierarchy = "published_at"
    inlines = (ChoiceInline,)
    readonly_fields = ("preview",)
    fieldsets: ClassVar = (
        (None, {"fields": ("text", "details", "published_at")}),
        ("Image", {"fields": ("image", "preview", "image_description")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Question]:
        """With the sums, in the same query."""
        return super().get_queryset(request).with_votes()

    @admin.display(description="votes", ordering="total_votes")
    def total_votes(self, question: Question) -> int:
        """Votes of all answers."""
        return question.total_votes

    @admin.display(description="image")
    def thumbnail(self, question: Question) -> str:
        """Small, for the list."""
        return self._image(question, height=40)

    @admin.display(description="preview")
    def preview(self, question: Question) -> str:
        """Large, for the question's own page."""
        return self._image(question, height=240)

    def save_formset(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature, here and below
        form: ModelForm,  # noqa: ARG002
        formset: BaseInlineFormSet,
        change: bool,  # noqa: ARG002
    ) -> None:
        """Write the changed fields of an answer only: saving all of them would undo votes that came in meanwhile."""
        changed = {form.instance.pk: form.changed_data for form in formset.initial_forms}
        for choice in formset.save(commit=False):
            choice.save(update_fields=changed.get(choice.pk))
        for choice in formset.deleted_objects:
            choice.delete()

    @staticmethod
    def _image(question: Question, *, height: int) -> str:
        if not question.image:
            return "none"
        image = question.image
        return format_html('<img src="{}" alt="{}" height="{}">', image.url, question.image_description, height)
