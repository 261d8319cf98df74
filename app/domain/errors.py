"""Every error that a client can be told, in one tree.

OnejobError
├── InvalidRequest       invalid_request
├── Unauthorized         unauthorized_request
├── Forbidden            forbidden_action
├── NotFound             not_found
├── MethodNotAllowed     method_not_allowed
├── Conflict             conflict
├── PayloadTooLarge      payload_too_large
├── TryLater             (has `retry_after_seconds`)
│   ├── RateLimited          rate_limit_exceeded
│   └── ServiceUnavailable   service_unavailable
└── ServerError          server_error

The codes are the contract's; which HTTP status each one gets is the API's business.
"""

from typing import ClassVar


class OnejobError(Exception):
    """Something that a client is told: a fixed code and a sentence."""

    code: ClassVar[str] = "server_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequest(OnejobError):
    """The request names a value that is not allowed."""

    code = "invalid_request"


class Unauthorized(OnejobError):
    """No credentials, or wrong ones."""

    code = "unauthorized_request"


class Forbidden(OnejobError):
    """The credentials are good, the action is not theirs."""

    code = "forbidden_action"


class NotFound(OnejobError):
    """There is no such thing, or no longer."""

    code = "not_found"


class MethodNotAllowed(OnejobError):
    """The path exists, the method does not; `allowed` do."""

    code = "method_not_allowed"

    def __init__(self, message: str, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.allowed = allowed


class Conflict(OnejobError):
    """The request contradicts what is there."""

    code = "conflict"


class PayloadTooLarge(OnejobError):
    """The body is over the limit."""

    code = "payload_too_large"


class TryLater(OnejobError):
    """Nothing was done; the same request may pass after a pause."""

    def __init__(self, message: str, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RateLimited(TryLater):
    """A bound on the number of waiting jobs is reached."""

    code = "rate_limit_exceeded"


class ServiceUnavailable(TryLater):
    """Something that the service needs is away."""

    code = "service_unavailable"


class ServerError(OnejobError):
    """A fault of ours."""
