"""A question has choices; a choice counts its votes."""

import uuid
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.files import File
from django.core.validators import FileExtensionValidator
from django.db import models
from django.urls import reverse
from django.utils import timezone

IMAGE_TYPES = ("avif", "gif", "jpeg", "jpg", "png", "webp")
IMAGE_MEBIBYTES = 5
NEWEST_FIRST = ("-published_at", "-pk")


def image_path(_question: "Question", filename: str) -> str:
    """Name of an upload: ours, because the uploader's may say more than they know."""
    return f"questions/{uuid.uuid4().hex}{PurePosixPath(filename).suffix.lower()}"


def validate_image_size(image: File) -> None:
    """Refuse an image above IMAGE_MEBIBYTES."""
    if image.size > IMAGE_MEBIBYTES * 2**20:
        raise ValidationError(
            "The image may have at most %(limit)s MiB, this one has %(size).1f MiB; save it smaller.",
            params={"limit": IMAGE_MEBIBYTES, "size": image.size / 2**20},
        )


class QuestionQuerySet(models.QuerySet["Question"]):
    """Questions, as the pages need them."""

    def published(self) -> "QuestionQuerySet":
        """Only those whose time has come."""
        return self.filter(published_at__lte=timezone.now())

    def with_votes(self) -> "QuestionQuerySet":
        """With `total_votes`, the sum over the choices."""
        summed = self.annotate(total_votes=models.functions.Coalesce(models.Sum("choices__votes"), 0))
        # Said again, because Django leaves Meta.ordering out of a query that groups.
        return summed.order_by(*NEWEST_FIRST)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of a result; `percent` is the share of all votes, 0 when there are none."""

    choice: "Choice"
    percent: float
    leading: bool


class Question(models.Model):
    """Something to vote on."""

    text = models.CharField("question", max_length=200)
    details = models.TextField(blank=True, help_text="A sentence or two below the question.")
    image = models.ImageField(
        upload_to=image_path,
        blank=True,
        width_field="image_width",
        height_field="image_height",
        validators=[FileExtensionValidator(IMAGE_TYPES), validate_image_size],
        help_text=f"Shown beside the question: {', '.join(IMAGE_TYPES)}; at most {IMAGE_MEBIBYTES} MiB.",
    )
    image_description = models.CharField(
        max_length=200,
        blank=True,
        help_text="What the image shows, for those who can't see it. Empty when it is decoration.",
    )
    # Kept here so that a page can say the size without fetching the image from the Space.
    image_width = models.PositiveIntegerField(null=True, blank=True, editable=False)
    image_height = models.PositiveIntegerField(null=True, blank=True, editable=False)
    published_at = models.DateTimeField("published", default=timezone.now, db_index=True)

    objects = QuestionQuerySet.as_manager()

    class Meta:
        """Newest first."""

        ordering: ClassVar = NEWEST_FIRST

    def __str__(self) -> str:
        return self.text

    def get_absolute_url(self) -> str:
        """Where to vote."""
        return reverse("polls:question", args=[self.pk])

    def results(self) -> list[Row]:
        """Every choice with its share, most votes first."""
        choices = sorted(self.choices.all(), key=lambda choice: -choice.votes)
        total = sum(choice.votes for choice in choices)
        most = max((choice.votes for choice in choices), default=0)
        return [
            Row(
                choice=choice,
                percent=100 * choice.votes / total if total else 0.0,
                leading=choice.votes == most > 0,
            )
            for choice in choices
        ]


class Choice(models.Model):
    """One possible answer."""

    question = models.ForeignKey(Question, on_delete=models.CASCADE, related_name="choices")
    text = models.CharField("answer", max_length=200)
    votes = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        """In the order in which they were written; no answer twice."""

        ordering: ClassVar = ["pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["question", "text"],
                name="polls_choice_once_per_question",
                violation_error_message="This question has that answer already.",
            ),
        ]

    def __str__(self) -> str:
        return self.text

    def count_vote(self) -> bool:
        """Add one vote; whether the choice still existed.

        The database adds, in one statement: two votes at the same moment are two votes. Reading the number, adding in
        Python and saving it would lose one of them.
        """
        return Choice.objects.filter(pk=self.pk).update(votes=models.F("votes") + 1) == 1
