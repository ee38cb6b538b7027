"""What a voter sends."""

from django import forms

from polls.models import Choice, Question


class VoteForm(forms.Form):
    """One choice out of a question's own."""

    choice = forms.ModelChoiceField(
        queryset=Choice.objects.none(),
        error_messages={
            "required": "Pick an answer first, then vote.",
            "invalid_choice": "That answer is no longer there. Pick another one.",
        },
    )

    def __init__(self, question: Question, data: dict[str, str] | None = None) -> None:
        super().__init__(data)
        self.fields["choice"].queryset = question.choices.all()
