"""A sweep by Hydra's basic launcher, PyTorch and MLflow, as one would write it who knows them well.

`python benchmarks/peers/hydra_torch/train.py --multirun 'model.hidden=[8,4],[16]' optimizer.lr=0.003,0.01`

Nothing is slower than it must be: the table is read once for all jobs; batches are cut from one permutation
(a `DataLoader` takes longer); Adam is fused; PyTorch has one thread, since two are slower for networks so
small; an epoch's four scores go to MLflow in one call, and a model is one small file.
"""

from functools import cache
from itertools import pairwise
from pathlib import Path

import hydra
import mlflow
import torch
from benchmarks.peers import songs
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch import nn


@cache
def parts() -> list[torch.Tensor]:
    return [torch.tensor(array, dtype=torch.float32) for array in songs.parts()]


def network(features: int, hidden: list[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([features, *hidden]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], 1), nn.Flatten(0))


@torch.inference_mode()
def scores(model: nn.Module, loss: nn.Module, X: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    """Return the mean loss and the accuracy."""
    model.eval()
    logits = model(X)
    return loss(logits, y).item(), ((logits > 0) == (y > 0)).float().mean().item()


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(cfg.seed)
    X_train, y_train, X_val, y_val = parts()
    model = network(X_train.shape[1], list(cfg.model.hidden), cfg.model.dropout)
    loss = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.optimizer.lr, fused=True)

    mlflow.set_tracking_uri(cfg.tracking_uri)
    mlflow.set_experiment(cfg.experiment)
    with mlflow.start_run():
        mlflow.log_params(
            {
                "hidden": list(cfg.model.hidden),
                "dropout": cfg.model.dropout,
                "lr": cfg.optimizer.lr,
                "batch_size": cfg.batch_size,
                "epochs": cfg.epochs,
                "seed": cfg.seed,
            }
        )
        for epoch in range(1, cfg.epochs + 1):
            model.train()
            order = torch.randperm(len(y_train))
            for X, y in zip(
                X_train[order].split(cfg.batch_size), y_train[order].split(cfg.batch_size), strict=True
            ):
                optimizer.zero_grad()
                loss(model(X), y).backward()
                optimizer.step()
            train_loss, train_accuracy = scores(model, loss, X_train, y_train)
            val_loss, val_accuracy = scores(model, loss, X_val, y_val)
            mlflow.log_metrics(
                {
                    "train_loss": train_loss,
                    "train_accuracy": train_accuracy,
                    "val_loss": val_loss,
                    "val_accuracy": val_accuracy,
                },
                step=epoch,
            )
        file = Path(HydraConfig.get().runtime.output_dir, "model.pt")
        torch.save(model.state_dict(), file)
        mlflow.log_artifact(str(file))


if __name__ == "__main__":
    main()
