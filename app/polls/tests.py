"""What the polls promise, on any database and without a network: DJANGO_DEBUG=1 uv run python manage.py test.

What needs processes (a server, PostgreSQL, votes at the same moment) is in tests/app/test_app.py of the project.
"""

# ruff: noqa: PT009 - Django's own runner runs these, and unittest's assertions show both values

import io
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import boto3
from django.contrib.auth import get_user_model
from django.contrib.staticfiles import finders
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import SimpleTestCase, TestCase, override_settings
from django.urls import reverse
from django.utils import timezone
from moto import mock_aws
from mysite.media import PrivateMediaStorage
from mysite.security import content_security_policy, origin
from PIL import Image

from polls.models import IMAGE_MEBIBYTES, Choice, Question, image_path


def png(*, width: int = 4, height: int = 3) -> bytes:
    """Draw a small picture."""
    written = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(written, "PNG")
    return written.getvalue()


class PollCase(TestCase):
    """A question with two choices."""

    def setUp(self) -> None:
        """Start without the sample poll, and with stable hosts."""
        Question.objects.all().delete()
        self.question = Question.objects.create(text="Tea or coffee?", details="At four o'clock.")
        self.tea = self.question.choices.create(text="Tea")
        self.coffee = self.question.choices.create(text="Coffee")

    def address(self, name: str) -> str:
        """Address of one of the question's pages."""
        return reverse(f"polls:{name}", args=[self.question.pk])

    def vote_for(self, choice: object) -> HttpResponse:
        """Post a vote."""
        return self.client.post(self.address("vote"), {"choice": str(choice)})

    def votes(self) -> dict[str, int]:
        """Votes by answer, from the database."""
        return dict(self.question.choices.values_list("text", "votes"))


class SamplePollTests(TestCase):
    """The data migration."""

    def test_a_new_database_has_one_poll_with_answers(self) -> None:
        """The first visitor finds something to vote on."""
        question = Question.objects.published().get()
        self.assertGreaterEqual(question.choices.count(), 2)
        self.assertContains(self.client.get("/"), question.text)


class PageTests(PollCase):
    """What visitors see."""

    def test_index_lists_published_questions_newest_first_with_their_votes(self) -> None:
        """A question of the future is not there yet."""
        now = timezone.now()
        Question.objects.create(text="Of old?", published_at=now - timedelta(days=9))
        Question.objects.create(text="Of the future?", published_at=now + timedelta(days=1))
        Choice.objects.filter(pk=self.tea.pk).update(votes=2)
        page = self.client.get("/")
        self.assertEqual(["Tea or coffee?", "Of old?"], [question.text for question in page.context["questions"]])
        self.assertContains(page, "2 votes")

    def test_index_takes_one_query_however_many_questions(self) -> None:
        """No query per question."""
        for number in range(5):
            Question.objects.create(text=f"Number {number}?")
        with self.assertNumQueries(1):
            self.client.get("/")

    def test_index_without_questions_says_so(self) -> None:
        """Not an empty page."""
        Question.objects.all().delete()
        self.assertContains(self.client.get("/"), "No question has been asked yet")

    def test_question_of_the_future_is_not_found_anywhere(self) -> None:
        """Nor can it be voted on."""
        Question.objects.update(published_at=timezone.now() + timedelta(hours=1))
        self.assertEqual(404, self.client.get(self.address("question")).status_code)
        self.assertEqual(404, self.client.get(self.address("results")).status_code)
        self.assertEqual(404, self.vote_for(self.tea.pk).status_code)
        self.assertEqual({"Tea": 0, "Coffee": 0}, self.votes())

    def test_text_is_escaped(self) -> None:
        """What an editor types is text."""
        Question.objects.update(text="<script>alert(1)</script>")
        self.assertNotContains(self.client.get(self.address("question")), "<script>")

    def test_missing_page_is_ours(self) -> None:
        """404 in the site's own dress."""
        page = self.client.get("/no/such/page")
        self.assertContains(page, "There is nothing at this address", status_code=404)

    def test_failing_page_is_ours_and_needs_no_database(self) -> None:
        """500 in the site's own dress, while every query fails."""
        self.client.raise_request_exception = False
        with mock.patch.object(connection, "ensure_connection", side_effect=OperationalError("gone")):
            page = self.client.get("/")
        self.assertContains(page, "Something broke on our side", status_code=500)

    def test_favicon_leads_to_the_static_file(self) -> None:
        """For clients that never read the page."""
        answer = self.client.get("/favicon.ico")
        self.assertEqual("/static/polls/favicon.svg", answer.headers["Location"])


class VoteTests(PollCase):
    """Counting."""

    def test_vote_is_counted_once_and_leads_to_the_result(self) -> None:
        """Redirect after post: reloading the result does not vote again."""
        answer = self.vote_for(self.tea.pk)
        self.assertRedirects(answer, self.address("results"), fetch_redirect_response=False)
        result = self.client.get(self.address("results"))
        self.assertContains(result, "Your vote for “Tea” is counted.")
        self.assertNotContains(self.client.get(self.address("results")), "is counted.")
        self.assertEqual({"Tea": 1, "Coffee": 0}, self.votes())

    def test_the_database_adds(self) -> None:
        """An object that was read before another vote does not overwrite it."""
        one, other = Choice.objects.get(pk=self.tea.pk), Choice.objects.get(pk=self.tea.pk)
        self.assertTrue(one.count_vote())
        self.assertTrue(other.count_vote())
        self.assertEqual(2, self.votes()["Tea"])

    def test_vote_for_nothing_or_nonsense_counts_nothing(self) -> None:
        """And says what to do."""
        for choice in ("", "nonsense", "0", "99999999999999999999"):
            with self.subTest(choice=choice):
                page = self.vote_for(choice)
                self.assertEqual(422, page.status_code)
                self.assertContains(page, 'role="alert"', status_code=422)
        self.assertEqual({"Tea": 0, "Coffee": 0}, self.votes())

    def test_vote_for_another_questions_choice_counts_nothing(self) -> None:
        """A choice belongs to its question."""
        stranger = Question.objects.create(text="Cake?").choices.create(text="Yes")
        self.assertEqual(422, self.vote_for(stranger.pk).status_code)
        stranger.refresh_from_db()
        self.assertEqual(0, stranger.votes)

    def test_vote_for_a_choice_deleted_in_between_says_so(self) -> None:
        """Between the check of the form and the count."""
        with mock.patch.object(Choice, "count_vote", lambda choice: bool(choice.delete()) and False):
            page = self.vote_for(self.tea.pk)
        self.assertContains(page, "no longer there", status_code=422)

    def test_only_post_votes(self) -> None:
        """A link or an image tag can't vote."""
        self.assertEqual(405, self.client.get(self.address("vote")).status_code)

    def test_vote_without_token_is_refused(self) -> None:
        """Another site can't vote for its visitors."""
        strict = self.client_class(enforce_csrf_checks=True)
        answer = strict.post(self.address("vote"), {"choice": self.tea.pk})
        self.assertContains(answer, "We could not tell that this was you", status_code=403)
        self.assertEqual(0, self.votes()["Tea"])


class ResultTests(PollCase):
    """Shares and bars."""

    def test_shares_add_up_and_the_most_voted_leads(self) -> None:
        """Most votes first."""
        Choice.objects.filter(pk=self.tea.pk).update(votes=1)
        Choice.objects.filter(pk=self.coffee.pk).update(votes=3)
        rows = self.question.results()
        self.assertEqual(
            [("Coffee", 75.0, True), ("Tea", 25.0, False)],
            [(row.choice.text, row.percent, row.leading) for row in rows],
        )

    def test_without_votes_nobody_leads(self) -> None:
        """And nothing is divided by nothing."""
        self.assertEqual({(0.0, False)}, {(row.percent, row.leading) for row in self.question.results()})
        self.assertContains(self.client.get(self.address("results")), "Nobody has voted yet")

    def test_bar_is_as_wide_as_the_share(self) -> None:
        """With a point, whatever the language."""
        Choice.objects.filter(pk=self.tea.pk).update(votes=1)
        Choice.objects.filter(pk=self.coffee.pk).update(votes=2)
        with override_settings(LANGUAGE_CODE="de"):
            page = self.client.get(self.address("results"))
        self.assertContains(page, 'class="fill" width="66.67%"')
        self.assertContains(page, 'class="fill" width="33.33%"')


class AdminTests(PollCase):
    """Editing, with media in a folder."""

    def setUp(self) -> None:
        """Log a superuser in."""
        super().setUp()
        self.client.force_login(get_user_model().objects.create_superuser("editor"))
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        storages = {"default": {"BACKEND": "django.core.files.storage.FileSystemStorage"}}
        settings = override_settings(
            MEDIA_ROOT=folder.name,
            STORAGES=storages | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}},
        )
        settings.enable()
        self.addCleanup(settings.disable)
        self.change = reverse("admin:polls_question_change", args=[self.question.pk])

    def form(self, **changes: object) -> dict[str, object]:
        """Fill in what the browser sends when an editor changes something and presses Save."""
        fields: dict[str, object] = {
            "text": self.question.text,
            "details": "",
            "image_description": "A cup",
            "published_at_0": "2026-01-02",
            "published_at_1": "03:04:05",
            "choices-TOTAL_FORMS": "2",
            "choices-INITIAL_FORMS": "2",
        }
        for number, choice in enumerate((self.tea, self.coffee)):
            fields |= {
                f"choices-{number}-id": choice.pk,
                f"choices-{number}-question": self.question.pk,
                f"choices-{number}-text": choice.text,
            }
        return fields | changes

    def test_image_is_uploaded_and_shown_on_the_page_and_in_the_admin(self) -> None:
        """Under a name of ours, with its size known."""
        upload = SimpleUploadedFile("Secret plan.PNG", png(), "image/png")
        self.assertRedirects(
            self.client.post(self.change, self.form(image=upload)), reverse("admin:polls_question_changelist")
        )
        self.question.refresh_from_db()
        self.assertRegex(self.question.image.name, r"^questions/[0-9a-f]{32}\.png$")
        self.assertEqual((4, 3), (self.question.image_width, self.question.image_height))
        page = self.client.get(self.address("question"))
        self.assertContains(
            page,
            f'<img class="picture" src="{self.question.image.url}" alt="A cup" width="4" height="3">',
            html=True,
        )
        for address in (self.change, reverse("admin:polls_question_changelist")):
            self.assertContains(self.client.get(address), self.question.image.url)

    def test_upload_that_is_no_image_is_refused(self) -> None:
        """By content, and by name."""
        page = b"<!doctype html><script>alert(1)</script>"
        for upload in (
            SimpleUploadedFile("picture.png", page, "image/png"),
            SimpleUploadedFile("picture.html", png(), "image/png"),
            SimpleUploadedFile("picture.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        ):
            with self.subTest(name=upload.name):
                answer = self.client.post(self.change, self.form(image=upload))
                self.assertTrue(answer.context["adminform"].errors["image"])
        self.question.refresh_from_db()
        self.assertFalse(self.question.image)

    def test_image_above_the_limit_is_refused_with_its_size(self) -> None:
        """The rule, the value and what to do."""
        field = Question._meta.get_field("image")  # noqa: SLF001 - Django's documented way to a field
        with self.assertRaisesMessage(ValidationError, "at most 5 MiB, this one has 5.5 MiB; save it smaller"):
            field.run_validators(SimpleUploadedFile("a.png", bytes(IMAGE_MEBIBYTES * 2**20 + 2**19)))

    def test_editing_an_answer_keeps_votes_that_come_in_meanwhile(self) -> None:
        """A vote between the editor's reading and writing is not undone."""
        write = Choice.save

        def vote_comes_first(choice: Choice, **options: object) -> None:
            Choice.objects.get(pk=self.tea.pk).count_vote()
            write(choice, **options)

        with mock.patch.object(Choice, "save", vote_comes_first):
            self.client.post(self.change, self.form(**{"choices-0-text": "Green tea"}))
        self.assertEqual({"Green tea": 1, "Coffee": 0}, self.votes())

    def test_answers_can_be_added_and_deleted_but_not_doubled(self) -> None:
        """The inline form's three buttons."""
        added = {
            "choices-TOTAL_FORMS": "3",
            "choices-2-question": self.question.pk,
            "choices-2-text": "Water",
            "choices-1-DELETE": "on",
        }
        self.client.post(self.change, self.form(**added))
        self.assertEqual({"Tea": 0, "Water": 0}, self.votes())
        doubled = {"choices-TOTAL_FORMS": "3", "choices-2-question": self.question.pk, "choices-2-text": "Tea"}
        self.assertEqual(200, self.client.post(self.change, self.form(**doubled)).status_code)

    def test_votes_can_not_be_edited(self) -> None:
        """Not even by a forged form."""
        self.client.post(self.change, self.form(**{"choices-0-votes": "1000", "choices-0-text": "Green tea"}))
        self.assertEqual(0, self.votes()["Green tea"])


class MediaTests(SimpleTestCase):
    """The private Space, played by moto."""

    def setUp(self) -> None:
        """Make a bucket; no credentials of the machine come near it."""
        environment = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        for patch in (mock.patch.dict(os.environ, environment), mock_aws()):
            patch.__enter__()
            self.addCleanup(patch.__exit__, None, None, None)
        # moto knows buckets in the host name at Amazon's addresses only.
        self.client_of_s3 = boto3.client("s3", region_name="us-east-1")
        self.client_of_s3.create_bucket(Bucket="media")
        self.storage = PrivateMediaStorage(bucket_name="media", region_name="us-east-1")

    def stored(self, name: str) -> dict[str, object]:
        """Headers of an object."""
        return self.client_of_s3.head_object(Bucket="media", Key=name)

    def test_url_is_signed_names_the_bucket_in_the_host_and_expires(self) -> None:
        """And never leads to the CDN."""
        with override_settings(AWS_S3_CUSTOM_DOMAIN="assets.nyc3.cdn.digitaloceanspaces.com"):
            storage = PrivateMediaStorage(
                bucket_name="media", endpoint_url="https://nyc3.digitaloceanspaces.com", region_name="nyc3"
            )
        parts = urlsplit(storage.url("questions/a.png"))
        query = parse_qs(parts.query)
        self.assertEqual(("https", "media.nyc3.digitaloceanspaces.com"), (parts.scheme, parts.netloc))
        self.assertEqual("/questions/a.png", parts.path)
        self.assertEqual((["3600"], ["AWS4-HMAC-SHA256"]), (query["X-Amz-Expires"], query["X-Amz-Algorithm"]))
        self.assertIn("X-Amz-Signature", query)

    def test_type_is_told_by_the_name_not_by_the_uploader(self) -> None:
        """A picture that claims to be a page is stored as a picture."""
        name = self.storage.save("a.webp", SimpleUploadedFile("a.webp", b"...", "text/html"))
        self.assertEqual(
            ("image/webp", "inline"), (self.stored(name)["ContentType"], self.stored(name)["ContentDisposition"])
        )

    def test_unsafe_types_are_downloaded(self) -> None:
        """Never opened as a page of ours."""
        for unsafe in ("a.html", "a.svg", "a.pdf", "a.png.HTML", "a"):
            with self.subTest(name=unsafe):
                stored = self.stored(self.storage.save(unsafe, SimpleUploadedFile(unsafe, b"...", "image/png")))
                self.assertEqual(
                    ("application/octet-stream", "attachment"), (stored["ContentType"], stored["ContentDisposition"])
                )

    def test_same_name_is_another_object(self) -> None:
        """An upload never replaces one."""
        first = self.storage.save("a.png", ContentFile(b"first"))
        second = self.storage.save("a.png", ContentFile(b"second"))
        self.assertNotEqual(first, second)
        for name, content in ((first, b"first"), (second, b"second")):
            with self.storage.open(name) as stored:
                self.assertEqual(content, stored.read())

    def test_objects_have_no_public_access(self) -> None:
        """Only the owner is granted anything."""
        name = self.storage.save("a.png", ContentFile(b"..."))
        grants = self.client_of_s3.get_object_acl(Bucket="media", Key=name)["Grants"]
        self.assertEqual(["CanonicalUser"], [grant["Grantee"]["Type"] for grant in grants])

    def test_name_keeps_nothing_of_the_uploaders(self) -> None:
        """But the type."""
        self.assertRegex(image_path(Question(), "../../Jo's cheque.JPEG"), r"^questions/[0-9a-f]{32}\.jpeg$")


class SecurityTests(TestCase):
    """The headers of a page."""

    def test_policy_allows_ours_and_nothing_else(self) -> None:
        """Static files from the CDN, media from the Space, no inline code."""
        policy = content_security_policy(
            static=origin("https://assets.nyc3.cdn.digitaloceanspaces.com/static/"),
            media="https://media.nyc3.digitaloceanspaces.com",
        )
        directives = dict(directive.split(" ", 1) for directive in policy.split("; "))
        self.assertEqual("'none'", directives["default-src"])
        self.assertEqual("'self' https://assets.nyc3.cdn.digitaloceanspaces.com", directives["style-src"])
        self.assertIn("https://media.nyc3.digitaloceanspaces.com", directives["img-src"].split())
        self.assertNotIn("unsafe", policy)

    def test_every_page_carries_it(self) -> None:
        """Errors included."""
        for address in ("/", "/admin/login/", "/no/such/page"):
            with self.subTest(address=address):
                self.assertIn("default-src 'none'", self.client.get(address).headers["Content-Security-Policy"])

    def test_pages_have_no_inline_style_or_script(self) -> None:
        """The policy would block them."""
        question = Question.objects.get()
        for address in ("/", f"/questions/{question.pk}/", f"/questions/{question.pk}/results/", "/no/such/page"):
            with self.subTest(address=address):
                page = self.client.get(address).content.decode()
                self.assertNotRegex(page, r"<script>|<style|\sstyle=|\son[a-z]+=")

    def test_session_cookie_is_for_https_and_not_for_scripts(self) -> None:
        """In production; DEBUG allows plain http for the developer."""
        get_user_model().objects.create_superuser("editor", password="a long enough one")  # noqa: S106
        with override_settings(SESSION_COOKIE_SECURE=True):
            self.client.post("/admin/login/", {"username": "editor", "password": "a long enough one"})
        cookie = self.client.cookies["sessionid"]
        self.assertTrue(cookie["secure"])
        self.assertTrue(cookie["httponly"])


class FontTests(SimpleTestCase):
    """The self-hosted font."""

    def test_font_is_a_woff2_and_its_licence_lies_beside_it(self) -> None:
        """The Open Font License asks for that."""
        font = Path(finders.find("polls/fonts/bricolage-grotesque.woff2"))
        self.assertEqual(b"wOF2", font.read_bytes()[:4])
        licence = font.with_name("bricolage-grotesque.LICENSE.txt")
        self.assertIn("SIL Open Font License, Version 1.1", licence.read_text())
