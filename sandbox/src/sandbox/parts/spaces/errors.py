"""S3's errors: a status, a code, and the document that clients read them from."""

from http import HTTPStatus
from typing import NoReturn
from xml.sax.saxutils import escape


class S3Error(Exception):
    """An answer other than success, with S3's code."""

    def __init__(self, status: HTTPStatus, code: str, message: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message

    def document(self, request_id: str) -> bytes:
        """Write the body that S3 answers."""
        parts = {"Code": self.code, "Message": self.message, "RequestId": request_id, "HostId": "sandbox"}
        text = "".join(f"<{name}>{escape(_printable(value))}</{name}>" for name, value in parts.items())
        return f'<?xml version="1.0" encoding="UTF-8"?><Error>{text}</Error>'.encode()


def invalid(code: str, message: str) -> S3Error:
    """Return the error for a request that can't be understood."""
    return S3Error(HTTPStatus.BAD_REQUEST, code, message)


def forbidden(code: str, message: str) -> S3Error:
    """Return the error for a request that is understood and refused."""
    return S3Error(HTTPStatus.FORBIDDEN, code, message)


def missing(code: str, message: str) -> S3Error:
    """Return the error for what isn't there."""
    return S3Error(HTTPStatus.NOT_FOUND, code, message)


def not_implemented(message: str) -> NoReturn:
    """Refuse what Spaces has not, or the sandbox has not; DigitalOcean documents this code."""
    raise S3Error(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", message)


def _printable(text: str) -> str:
    """Replace what XML 1.0 can't hold."""
    return "".join(c if c >= " " and c not in "\ufffe\uffff" else "\ufffd" for c in text)
