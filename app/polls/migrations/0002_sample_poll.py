"""One poll to begin with, so that the first visit has something to show."""

from django.db import migrations

QUESTION = "What makes a deployment a good one?"
DETAILS = "You have a release ready to go. Which of these matters most to you?"
CHOICES = (
    "Nobody notices it",
    "I can take it back",
    "It takes a minute, not an afternoon",
    "Somebody else does it",
)


def add(apps, schema_editor):
    question = apps.get_model("polls", "Question").objects.create(text=QUESTION, details=DETAILS)
    choices = apps.get_model("polls", "Choice").objects
    for text in CHOICES:
        choices.create(question=question, text=text)


def remove(apps, schema_editor):
    apps.get_model("polls", "Question").objects.filter(text=QUESTION).delete()


class Migration(migrations.Migration):
    dependencies = [("polls", "0001_questions_and_choices")]

    operations = [migrations.RunPython(add, remove)]
