"""Collect the configuration errors of a command line and report them together."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sweepgrad.compose.boundary import about_input, message
from sweepgrad.compose.loader import SweepLoader
from sweepgrad.compose.options import wrong_overrides
from sweepgrad.compose.origin import on_command_line
from sweepgrad.config.check import ConfigError
from sweepgrad.errors import UserError, shortened

_MOST = 50  # errors that are listed
_MOST_JOBS = 100  # with errors
_LONGEST = 1_000  # characters of a key, a problem, an origin


class Errors:
    """The errors found so far, each with its origin; they are reported together.

    Attributes:
        partial: whether wrong overrides were dropped; then only errors that do not depend on them are added.
    """

    def __init__(self) -> None:
        self._n_wrong_jobs = 0
        self._lines: dict[tuple[str, str], str] = {}
        self.partial = False

    def add(self, error: ConfigError, origin: str) -> None:
        """Add an error, unless the same was found in another job."""
        if error.certain or not self.partial:
            source = f" [from {shortened(origin, _LONGEST)}]" if origin else ""
            line = f"{shortened(error.key, _LONGEST)}: {shortened(error.problem, _LONGEST)}{source}"
            self._lines.setdefault((error.key, error.problem), line)

    def add_all(self, errors: Sequence[ConfigError], origin: Callable[[ConfigError], str]) -> None:
        """Add the errors of a job."""
        self._n_wrong_jobs += 1
        for error in errors:
            if not self.enough:
                self.add(error, origin(error))

    @property
    def enough(self) -> bool:
        """Return whether so much is wrong that looking for more would not help."""
        return len(self._lines) >= _MOST or self._n_wrong_jobs >= _MOST_JOBS

    def drop_wrong(self, loader: SweepLoader, overrides: Sequence[Override]) -> list[Override]:
        """Return the overrides without the wrong ones, and add the errors of these."""
        wrong = list(wrong_overrides(loader, overrides))
        for _, error in wrong:
            self.add(error, on_command_line(error, overrides))
        self.partial = self.partial or bool(wrong)
        dropped = {id(override) for override, _ in wrong}
        # Without its option, a setting of a launcher or sweeper would be an unknown key.
        theirs = tuple(f"{o.key_or_group.replace('/', '.')}." for o, _ in wrong if "/" in o.key_or_group)
        return [o for o in overrides if id(o) not in dropped and not o.key_or_group.startswith(theirs)]

    def refuse(self) -> None:
        """Raise a UserError if there are errors."""
        if self._lines:
            n = len(self._lines)
            lines = "".join(f"\n  {line}" for line in [*self._lines.values()][:_MOST])
            more = " or more" if self.enough else ""
            raise UserError(f"{n} configuration error{'s' if n > 1 else ''}{more}; nothing was run{lines}")

    @contextmanager
    def composing(
        self,
        explain: Callable[[], Iterator[ConfigError]] | None = None,
        blame: Callable[[], str] | None = None,
    ) -> Iterator[None]:
        """Raise what Hydra raises while composing as a UserError, or the errors found before.

        Arguments:
            explain: yields errors that may be the cause; they replace Hydra's message.
            blame: returns the override that may be the cause, or "", for exceptions that say little.
        """
        try:
            yield
        except Exception as error:
            if not about_input(error):
                raise
            for found in explain() if explain and not isinstance(error, UserError) else ():
                self.add(found, "")
            self.refuse()
            if isinstance(error, UserError):
                raise
            says_little = not isinstance(error, HydraException | OmegaConfBaseException | YAMLError)
            override = blame() if blame and says_little else ""
            raise UserError(message(error, f"Check {override}" if override else "")) from None
