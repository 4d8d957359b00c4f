"""The MLflow store that results are in."""

from typing import TYPE_CHECKING

from sweepgrad.config.schema import store_uri
from sweepgrad.errors import UserError

if TYPE_CHECKING:
    from sweepgrad.tracking.store import Store


class Location:
    """An MLflow store, which is opened when it is first used. A pickle holds its address only.

    Arguments:
        store: the store, if it is open already.
    """

    def __init__(self, uri: str, experiment: str, store: "Store | None" = None) -> None:
        self.uri, self.experiment, self._store = uri, experiment, store

    def __reduce__(self) -> tuple[type["Location"], tuple[str, str]]:
        return Location, (self.uri, self.experiment)

    @property
    def store(self) -> "Store":
        """The open store.

        Raises:
            UserError: it does not answer.
        """
        if self._store is None:
            from sweepgrad.tracking.store import Store

            self._store = Store(self.uri, self.experiment)
        return self._store

    def refuse_other(self, store: "Store | None", name: str) -> None:
        """Check that an argument `store` does not contradict the store of a sweep or a run.

        Raises:
            UserError: it is another store, or not a store.
        """
        checked(store)
        if store is not None and (store.uri, store.experiment) != (store_uri(self.uri), self.experiment):
            raise UserError(
                f"store: {name} is in experiment {self.experiment!r} of {self.uri}, not in"
                f" {store.experiment!r} of {store.uri}; leave store= out, or pass the result of"
                f" load_sweep({name!r}, store=store)"
            )


def checked(store: "Store | None") -> "Store | None":
    """Return the argument `store`.

    Raises:
        UserError: it is not a store.
    """
    if store is not None:
        from sweepgrad.tracking.store import Store

        if not isinstance(store, Store):
            raise UserError(f"store: must be a sweepgrad.Store, not {type(store).__name__}")
    return store
