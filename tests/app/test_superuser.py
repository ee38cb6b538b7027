"""The first administrator, by Django's own command and by others, in real projects."""

import pytest

from agent.app import superuser
from agent.app.superuser import make_superuser
from tests.django_project import Project, run

SUPERUSERS = {
    "a field of its own": (
        """
        from django.contrib.auth.models import AbstractUser
        from django.db import models

        class Person(AbstractUser):
            telephone = models.CharField(max_length=20)
            REQUIRED_FIELDS = ["email", "telephone"]
        """,
        "CommandError: You must use --telephone with --noinput; set DJANGO_SUPERUSER_TELEPHONE in app.env, or set ",
    ),
    "a rule for names": (
        """
        from django.contrib.auth.models import AbstractUser
        from django.core.validators import MinLengthValidator
        from django.db import models

        class Person(AbstractUser):
            username = models.CharField(max_length=20, unique=True, validators=[MinLengthValidator(9)])
        """,
        "at least 9 characters (it has 5); set what it refuses, as DJANGO_SUPERUSER_<FIELD>, in app.env",
    ),
    "a manager that fails": (
        """
        from django.contrib.auth.models import AbstractUser, UserManager

        class People(UserManager):
            def create_superuser(self, **fields):
                raise RuntimeError("ask the office")

        class Person(AbstractUser):
            objects = People()
        """,
        "RuntimeError: ask the office (",
    ),
}


@pytest.mark.parametrize("name", SUPERUSERS)
def test_a_superuser_that_needs_more_is_said(project: Project, name: str) -> None:
    """With Django's own command; what is set as the note says, Django reads."""
    model, said = SUPERUSERS[name]
    project.write("people/__init__.py", "")
    project.write("people/models.py", model)
    project.add("site_settings.py", "INSTALLED_APPS += ['people']\nAUTH_USER_MODEL = 'people.Person'\n")
    project.environment |= {"DJANGO_SUPERUSER_USERNAME": "admin", "DJANGO_SUPERUSER_EMAIL": "admin@shop.example"}
    project.environment |= {"DJANGO_SUPERUSER_PASSWORD": "swordfish"}
    with project.steps() as app:
        app.manage("migrate", "--noinput", "--run-syncdb")
        [note] = make_superuser(app, first=True)
    assert note.startswith("no superuser was made: `manage.py createsuperuser --noinput` ended with status 1: ")
    assert said in note
    project.environment |= {"DJANGO_SUPERUSER_TELEPHONE": "0", "DJANGO_SUPERUSER_USERNAME": "administrator"}
    with project.steps() as app:
        made = [] if name != "a manager that fails" else [note]
        assert (make_superuser(app, first=True), make_superuser(app, first=True)) == (made, made)


MAIL = """
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models

class Person(AbstractBaseUser, PermissionsMixin):
    email = models.EmailField(unique=True)
    USERNAME_FIELD = "email"
    objects = BaseUserManager()
"""
MAKE = """
from django.contrib.auth import get_user_model
person = get_user_model()(**{get_user_model().USERNAME_FIELD: "admin"})
person.set_password("PASSWORD")
person.save()
"""


@pytest.mark.parametrize("model", ["", MAIL])
@pytest.mark.parametrize("password", ["admin", "swordfish"])
def test_a_superuser_that_the_project_made_with_another_password_is_said(
    project: Project, model: str, password: str
) -> None:
    """In a first release, by whatever field is the name, until somebody has logged in."""
    if model:
        project.write("people/__init__.py", "")
        project.write("people/models.py", model)
        project.add("site_settings.py", "INSTALLED_APPS += ['people']\nAUTH_USER_MODEL = 'people.Person'\n")
    project.environment |= {"DJANGO_SUPERUSER_USERNAME": "admin", "DJANGO_SUPERUSER_PASSWORD": "swordfish"}
    project.environment |= {"DJANGO_SUPERUSER_EMAIL": "admin"}
    with project.steps() as app:
        app.manage("migrate", "--noinput", "--run-syncdb")
        run(app, MAKE.replace("PASSWORD", password))
        assert make_superuser(app, first=False) == []
        notes = make_superuser(app, first=True)
        assert len(notes) == (password != "swordfish")
        text = "a user `admin` is there already with another password: the output superuser_password is not its; "
        assert [note for note in notes if not note.startswith(text)] == []
        run(
            app,
            """
            from django.contrib.auth import get_user_model
            from django.utils import timezone
            get_user_model().objects.update(last_login=timezone.now())
            """,
        )
        assert make_superuser(app, first=True) == []


def test_a_project_without_accounts_has_nobody(project: Project) -> None:
    """Django has no such command then."""
    project.add("site_settings.py", "INSTALLED_APPS = ['probe']\n")
    project.environment |= {"DJANGO_SUPERUSER_USERNAME": "admin", "DJANGO_SUPERUSER_PASSWORD": "swordfish"}
    with project.steps() as app:
        assert make_superuser(app, first=True) == []


OWN_COMMAND = """
import time
from django.core.management.base import BaseCommand

class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("OPTION", action="store_true")

    def handle(self, *args, **options):
        print("Who?", flush=True)
        time.sleep(600)
"""


def test_a_createsuperuser_of_the_projects_own(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may take no --noinput, or wait for somebody for ever."""
    path = "probe/management/commands/createsuperuser.py"
    project.add("site_settings.py", "INSTALLED_APPS.insert(0, INSTALLED_APPS.pop())\n")
    project.write(path, OWN_COMMAND.replace("OPTION", "--no-questions"))
    with project.steps() as app:
        [note] = make_superuser(app, first=True)
    assert "error: unrecognized arguments: --noinput; let the project's command take --noinput, or set " in note
    project.write(path, OWN_COMMAND.replace("OPTION", "--noinput"))
    monkeypatch.setattr(superuser, "DEADLINE", 2)
    with project.steps() as app:
        [note] = make_superuser(app, first=True)
        assert note.startswith(
            "no superuser was made: `manage.py createsuperuser --noinput` did not end within 2 s: Who?; "
        )
        assert run(app, "print(1)") == "1\n"
    assert project.left() == {}
