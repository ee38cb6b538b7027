from ipaddress import ip_address

from django.shortcuts import redirect, render

from .models import Note


def notes(request):
    if request.method == "POST":
        Note.objects.create(text=request.POST["text"])
        return redirect("notes")
    # The last one is the proxy's own word.
    addresses = request.META["REMOTE_ADDR"], request.META["HTTP_X_FORWARDED_FOR"].split(",")[-1].strip()
    visitor = " ".join(str(ip_address(address)) for address in addresses)
    return render(request, "notes/notes.html", {"notes": Note.objects.order_by("written"), "visitor": visitor})
