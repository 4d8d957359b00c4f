"""The model as MLflow loads it ("models from code"): MLflow stores this file and runs it to get the model."""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from sweepgrad.training.bundle import Bundle


class Predictor(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Predict from raw columns: `probability` and `prediction`."""

    def load_context(self, context: Any) -> None:
        self.bundle = Bundle.load(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        return self.bundle.predict(model_input)


mlflow.models.set_model(Predictor())
