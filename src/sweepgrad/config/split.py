"""The settings that split a table into training, validation and test sets."""

from pydantic import Field, model_validator

from sweepgrad.config.section import Fraction, Section, Seed

# The defaults here are for records of runs that are older than the keys; they are those of config.yaml.


class Split(Section):
    """The split; it depends on `split.seed`, not on the seed of the run.

    With `fold`, the rows outside the test set are divided into `folds` equal parts. Part `fold` is the
    validation set and the others are the training set, so only the sum of `train` and `val` matters. The test
    set is the same for every fold, and without folds.

    With `outer_fold`, the test set is part `outer_fold` of `outer_folds` equal parts of all rows, and `test`
    must be 1 / outer_folds. Outer fold 0 has the test set that the same shares give without outer folds.
    """

    train: Fraction = Field(description="Share of the rows in the training set.")
    val: Fraction = Field(description="Share of the rows in the validation set.")
    test: Fraction = Field(
        description="Share of the rows in the test set; only finalize and evaluate use them."
    )
    seed: Seed = Field(description="Seed of the split.")
    stratify: bool = Field(description="Keep the share of positive rows equal in all sets.")
    folds: int = Field(5, ge=2, le=1_000, description="Number of cross-validation folds.")
    fold: int | None = Field(
        None, ge=0, description="Fold that is the validation set, from 0; null splits by the shares."
    )
    outer_folds: int = Field(
        5, ge=2, le=1_000, description="Number of outer folds, for nested cross-validation."
    )
    outer_fold: int | None = Field(
        None, ge=0, description="Outer fold that is the test set, from 0; null splits by the shares."
    )

    @property
    def shares(self) -> tuple[float, float, float]:
        """The shares of rows in the training, validation and test sets."""
        if self.fold is None:
            return self.train, self.val, self.test
        val = (self.train + self.val) / self.folds
        return self.train + self.val - val, val, self.test

    @model_validator(mode="after")
    def _shares_sum_to_1(self) -> "Split":
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
                f"fold {self.fold} does not exist: {self.folds} folds are numbered from 0 to {self.folds - 1}"
            )
        if self.fold is None and self.folds != type(self).model_fields["folds"].default:
            raise ValueError(
                f"folds={self.folds} has no effect without a fold. Set split.fold=range({self.folds}) in a"
                " sweep, or split.fold=0"
            )
        return self

    @model_validator(mode="after")
    def _the_outer_fold_is_one_of_them(self) -> "Split":
        n = self.outer_folds
        if self.outer_fold is None:
            if n != type(self).model_fields["outer_folds"].default:
                raise ValueError(
                    f"outer_folds={n} has no effect without an outer fold. Set split.outer_fold=range({n})"
                    " in a sweep, or split.outer_fold=0"
                )
            return self
        if self.outer_fold >= n:
            raise ValueError(
                f"outer fold {self.outer_fold} does not exist: {n} outer folds are numbered from 0 to {n - 1}"
            )
        if abs(self.test * n - 1) > 0.02:  # 1/3 cannot be written exactly
            test = float(f"{1 / n:.3g}")
            train = round((1 - test) * self.train / (self.train + self.val), 3)
            raise ValueError(
                f"with {n} outer folds the test set is 1/{n} of the rows, not {self.test:g}. Set"
                f" split.test={test:g} split.train={train:g} split.val={1 - test - train:.10g}"
            )
        return self
