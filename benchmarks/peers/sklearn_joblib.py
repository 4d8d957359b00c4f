"""A sweep by scikit-learn and joblib on two processes, as one would write it who knows them well.

`python benchmarks/peers/sklearn_joblib.py --hidden 8,4 16 --lr 0.003 0.01 --seed 0 1 2`

scikit-learn's networks have no dropout, so its steps do less than the others'. An epoch is one call of
`partial_fit`; its loss and accuracy are of the same prediction. This process sends finished jobs to MLflow,
all epochs in one call, while the others train: were they to send, each would have to import MLflow too.
"""

import argparse
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import joblib
import mlflow
import numpy as np
from benchmarks.peers import songs
from mlflow.entities import Metric
from mlflow.utils.time import get_current_time_millis
from sklearn.metrics import accuracy_score, log_loss
from sklearn.neural_network import MLPClassifier

PROCESSES = 2


def fitted(
    hidden: tuple[int, ...], lr: float, seed: int, epochs: int, parts: tuple[np.ndarray, ...]
) -> tuple[dict[str, Any], MLPClassifier, list[dict[str, float]]]:
    """Return a job's parameters, its model, and the scores after each epoch."""
    X_train, y_train, X_val, y_val = parts
    model = MLPClassifier(hidden, alpha=0.0, batch_size=32, learning_rate_init=lr, random_state=seed)
    history = []
    for _ in range(epochs):
        model.partial_fit(X_train, y_train, classes=[0, 1])
        scores = {}
        for part, X, y in (("train", X_train, y_train), ("val", X_val, y_val)):
            probability = model.predict_proba(X)[:, 1]
            scores[f"{part}_loss"] = log_loss(y, probability)
            scores[f"{part}_accuracy"] = accuracy_score(y, probability > 0.5)
        history.append(scores)
    params = {"hidden": hidden, "lr": lr, "batch_size": 32, "epochs": epochs, "seed": seed}
    return params, model, history


def metrics(history: list[dict[str, float]]) -> Iterator[Metric]:
    now = get_current_time_millis()
    for step, scores in enumerate(history, 1):
        for name, value in scores.items():
            yield Metric(name, value, now, step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", nargs="+", required=True, help="widths, such as 8,4")
    parser.add_argument("--lr", nargs="+", type=float, required=True)
    parser.add_argument("--seed", nargs="+", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=25)
    options = parser.parse_args()
    shapes = [tuple(map(int, widths.split(","))) for widths in options.hidden]
    parts = songs.parts()
    jobs = joblib.Parallel(PROCESSES, return_as="generator_unordered")(
        joblib.delayed(fitted)(*job, options.epochs, parts)
        for job in product(shapes, options.lr, options.seed)
    )
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("songs")
    client = mlflow.MlflowClient()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.joblib")
        for params, model, history in jobs:
            with mlflow.start_run() as run:
                mlflow.log_params(params)
                client.log_batch(run.info.run_id, list(metrics(history)))
                joblib.dump(model, file)
                mlflow.log_artifact(str(file))


if __name__ == "__main__":
    main()
