"""What ``datasets`` and ``huggingface_hub`` raise, as one error a cause."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator, Sequence

from huggingface_hub import errors

from milora.errors import MiloraError

_shown = 20
_max_chain = 10


class HubFailures:
    """Turns faults in talking to the hub about one data set into errors that say what to do.

    Args:
        name: The data set's id.
        check: Raises where the caller asked the call to end; ``datasets`` may have swallowed that.
    """

    def __init__(self, name: str, check: Callable[[], None]) -> None:
        self._name = name
        self.check = check

    @contextlib.contextmanager
    def asking(self, revision: str) -> Iterator[None]:
        """Around the question which commit a revision is."""
        try:
            yield
        except errors.GatedRepoError as error:
            raise self._not_found(f"The data set {self._name} is gated on the hub.", _gated_hint) from error
        except errors.RepositoryNotFoundError as error:
            message = f"There is no data set {self._name} on the hub, or it is private."
            raise self._not_found(message, _not_found_hint) from error
        except errors.RevisionNotFoundError as error:
            message = f"The data set {self._name} has no revision {revision}."
            raise MiloraError("input/unknown-name", message, path="revision", found=revision) from error
        except errors.HFValidationError as error:
            message = f"{self._name} is no id of the hub: {_first_line(error)}"
            raise MiloraError("input/invalid-spec", message, found=self._name, allowed="owner/name") from error
        except Exception as error:
            raise self._other(error) from error

    @contextlib.contextmanager
    def configuring(self, config: str | None, known: Callable[[], Sequence[str]]) -> Iterator[None]:
        """Around the choice of a config; ``known`` lists the configs that there are."""
        try:
            yield
        except ValueError as error:
            names = _quietly(known)
            if not names or config in names:
                raise self._other(error) from error
            asked = "needs a config named" if config is None else f"has no config {config}"
            message = f"The data set {self._name} {asked}; it has: {_listed(names)}."
            allowed = ", ".join(names)
            raise MiloraError(
                "input/unknown-name", message, path="config", found=config or "none", allowed=allowed
            ) from error
        except Exception as error:
            raise self._other(error) from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Around download and conversion."""
        try:
            yield
        except Exception as error:
            raise self._other(error) from error

    def _not_found(self, message: str, hint: str) -> MiloraError:
        return MiloraError("data/not-found", message, found=self._name, hint=hint)

    def _other(self, error: Exception) -> MiloraError:
        if isinstance(error, MiloraError):
            return error
        self.check()
        names = {kind.__name__ for link in _chain(error) for kind in type(link).__mro__}
        reason = _first_line(error)
        if any(isinstance(link, OSError) and link.errno == errno.ENOSPC for link in _chain(error)):
            return MiloraError("run/disk", f"There is no room on the disk for {self._name}: {reason}")
        if names & {"DatasetNotFoundError", "RepositoryNotFoundError"}:
            message = f"There is no data set {self._name} on the hub, or it is private: {reason}"
            return self._not_found(message, _not_found_hint)
        # What offline mode says of a config that its cache lacks has no class of its own.
        if names & _unreachable or _is_server_fault(error) or "Couldn't find cache" in reason:
            message = f"The hub could not be reached for {self._name}: {reason}"
            return MiloraError("data/unreachable", message, found=self._name, hint=_unreachable_hint)
        if names & {"EmptyDatasetError", "DataFilesNotFoundError"}:
            return MiloraError("data/empty", f"The data set {self._name} has no data files: {reason}")
        message = f"The data set {self._name} cannot be read: {reason}"
        return MiloraError("data/unreadable", message, found=self._name, hint=_unreadable_hint)


def unknown_split(place: str, split: str, known: Sequence[str]) -> MiloraError:
    """The error for a split that a data set lacks."""
    message = f"{place}: there is no split {split}; it has: {_listed(known)}."
    return MiloraError("input/unknown-name", message, path="split", found=split, allowed=", ".join(known))


def missing_column(place: str, column: str, known: Sequence[str]) -> MiloraError:
    """The error for a column that a split lacks."""
    message = f"{place} has no column {column}; it has: {_listed(known)}."
    return MiloraError("input/unknown-name", message, path="columns", found=column, allowed=", ".join(known))


_not_found_hint = "Check the id; for a private one, log in (hf auth login) or set HF_TOKEN."
_gated_hint = "Ask for access on its page, then log in (hf auth login) or set HF_TOKEN."
_unreachable_hint = (
    "Check the network, HF_ENDPOINT and the proxy; with HF_HUB_OFFLINE=1 what datasets has in its cache is used."
)
_unreadable_hint = "Data sets with a loading script cannot be read: look for one in Parquet, JSON or CSV."
_unreachable = {
    "ConnectError",
    "ConnectionError",
    "LocalEntryNotFoundError",
    "NetworkError",
    "OfflineModeIsEnabled",
    "TimeoutException",
    "TransportError",
}


def _is_server_fault(error: BaseException) -> bool:
    for link in _chain(error):
        status = getattr(getattr(link, "response", None), "status_code", None)
        if isinstance(status, int) and (status >= 500 or status == 429):
            return True
    return False


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and len(links) < _max_chain:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links


def _quietly(known: Callable[[], Sequence[str]]) -> Sequence[str]:
    try:
        return known()
    except Exception:  # noqa: BLE001  (the list is for the error's text; the first fault is what is told)
        return []


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _shown} more" if len(names) > _shown else ""
    return ", ".join(names[:_shown]) + more


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
