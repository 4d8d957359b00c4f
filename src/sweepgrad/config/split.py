"""How the rows of a table are divided."""

from typing import Annotated

from pydantic import Field, model_validator

from sweepgrad.config.section import Fraction, Section, Seed


class Split(Section):
    """Shares of the rows; the same seed gives the same parts, whatever the run's own seed.

    With a `fold` the rows outside the test part are divided into `folds` equal parts: the fold-th, from 0, is
    for validation and the others are for training, so of `train` and `val` only the sum counts. The test part
    is the same for every fold and without one. `fold: null` divides by the shares.

    With an `outer_fold` the test part is that one, from 0, of `outer_folds` equal parts of all rows: `test`
    must say 1 / outer_folds. Outer fold 0 tests the rows that are tested without one, with these shares.
    """

    train: Fraction
    val: Fraction
    test: Fraction
    seed: Seed
    stratify: bool
    folds: Annotated[int, Field(ge=2)] = 5  # as in config.yaml: runs that are older than folds do not say
    fold: Annotated[int, Field(ge=0)] | None = None
    outer_folds: Annotated[int, Field(ge=2)] = 5  # as in config.yaml, too
    outer_fold: Annotated[int, Field(ge=0)] | None = None

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of training, validation and test: what the parts are meant to have of the rows."""
        if self.fold is None:
            return self.train, self.val, self.test
        val = (self.train + self.val) / self.folds
        return self.train + self.val - val, val, self.test

    @model_validator(mode="after")
    def _shares_make_a_whole(self) -> "Split":
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(
                f"train + val + test must be 1, but {self.train} + {self.val} + {self.test} = {total:.10g}"
            )
        return self

    @model_validator(mode="after")
    def _the_fold_is_one_of_the_folds(self) -> "Split":
        if self.fold is not None and self.fold >= self.folds:
            raise ValueError(
                f"there is no fold {self.fold}: {self.folds} folds are numbered from 0 to {self.folds - 1}"
            )
        if self.fold is None and self.folds != type(self).model_fields["folds"].default:
            raise ValueError(
                f"folds: {self.folds} has no effect without a fold; say split.fold=range({self.folds}) in a"
                " sweep, or split.fold=0"
            )
        return self

    @model_validator(mode="after")
    def _the_outer_fold_is_one_of_them(self) -> "Split":
        n = self.outer_folds
        if self.outer_fold is None:
            if n != type(self).model_fields["outer_folds"].default:
                raise ValueError(
                    f"outer_folds: {n} has no effect without an outer fold; say split.outer_fold=range({n})"
                    " in a sweep, or split.outer_fold=0"
                )
            return self
        if self.outer_fold >= n:
            raise ValueError(
                f"there is no outer fold {self.outer_fold}: {n} outer folds are numbered from 0 to {n - 1}"
            )
        if abs(self.test * n - 1) > 0.02:  # a third cannot be said exactly
            test = float(f"{1 / n:.3g}")
            train = round((1 - test) * self.train / (self.train + self.val), 3)
            raise ValueError(
                f"each of {n} outer folds tests 1 in {n} rows, so test: {self.test:g} has no"
                f" effect; say split.test={test:g} split.train={train:g} split.val={1 - test - train:.10g}"
            )
        return self
