from django.shortcuts import redirect, render

from .models import Note


def notes(request):
    if request.method == "POST":
        Note.objects.create(text=request.POST["text"])
        return redirect("notes")
    return render(request, "notes/notes.html", {"notes": Note.objects.order_by("written")})
