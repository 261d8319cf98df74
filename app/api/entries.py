"""What the API's document says of a route. It is written beside the route, in a decorator:

    @blueprint.post("")
    @entry({201: Reply("It is made.", ThingOut)}, body=Thing, errors=(409,))
    def create() -> tuple[Response, int]:
        '''A new thing.'''

The view's docstring is the text; its parameters in the path come from the rule. What every route
may answer (401 where it asks who is there, 400, 500, 503 …) is added by itself.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

Access = Literal["token", "key", "none"]  # of the control plane, of the data plane, nobody asked
Schema = dict[str, Any]
_View = TypeVar("_View", bound=Callable[..., Any])

JSON = "application/json"
ANY = "*/*"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the query, or a request header."""

    name: str
    place: Literal["query", "header"]
    schema: Schema
    text: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `body`: a model, a type made of models, or a schema; None: it is empty."""

    text: str
    body: Any = None
    media: str = JSON
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """The body of a request that changes a model's members: any of them, the others stay."""

    of: type[BaseModel]


@dataclass(frozen=True, slots=True)
class Entry:
    """All that the document says of a route, but its path, its method and its text."""

    answers: Mapping[int | Literal["default"], Reply]
    body: Any = None
    media: tuple[str, ...] = (JSON,)  # of the request's body
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()  # besides those that every route may answer
    access: Access = "token"


@dataclass(frozen=True, slots=True)
class Beyond:
    """A route that Flask knows nothing of, since it is taken before routing."""

    path: str  # as OpenAPI writes it: /{deployment}
    method: str
    view: Callable[..., Any]  # has the text
    entry: Entry


_ENTRIES: dict[Callable[..., Any], Entry] = {}
_BEYOND: list[Beyond] = []


def entry(
    answers: Mapping[int | Literal["default"], Reply], **members: Any
) -> Callable[[_View], _View]:
    """Says what a route takes and answers; `members` are those of `Entry`."""

    def noted(view: _View) -> _View:
        _ENTRIES[view] = Entry(answers, **members)
        return view

    return noted


def entry_of(view: Callable[..., Any]) -> Entry:
    """What was said of a route. Raises LookupError if nothing was."""
    return _ENTRIES[view]


def beyond_routing(path: str, method: str, view: Callable[..., Any], told: Entry) -> None:
    """Says what is answered where Flask has no route."""
    _BEYOND.append(Beyond(path, method, view, told))


def all_beyond_routing() -> Iterator[Beyond]:
    """What was said of such routes."""
    return iter(_BEYOND)
