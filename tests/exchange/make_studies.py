"""Makes studies with Optuna, in a journal and in an SQLite database, and prints what Optuna says of them."""

import json
import math
import sys

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

optuna.logging.set_verbosity(optuna.logging.ERROR)
folder = sys.argv[1]


def objective(trial):
    """A bowl in the logarithm of `lr`; some trials are pruned, fail, or are not finite."""
    lr = trial.suggest_float("lr", 1e-5, 1, log=True)
    layers = trial.suggest_int("layers", 1, 3)
    optimizer = trial.suggest_categorical("optimizer", ["sgd", "adam"])
    momentum = trial.suggest_float("momentum", 0.0, 0.99) if optimizer == "sgd" else 0.0
    drop = trial.suggest_float("drop", 0.0, 0.5, step=0.1)
    trial.set_user_attr("note", f"drop {drop}")
    for step in range(1, 6):
        error = 0.1 * (math.log10(lr) + 2) ** 2 + 0.05 * layers + 0.01 * momentum + 0.02 * drop + 1 / step
        if trial.number == 9 and step == 3:
            error = float("nan")
        trial.report(error, step)
        if trial.number % 7 == 5 and step == 2:
            raise optuna.TrialPruned()
    if trial.number == 8:
        raise ValueError("boom")
    if trial.number == 10:
        trial.report(float("nan"), 6)
        return float("nan")
    return float("inf") if trial.number == 11 else error


def two_objectives(trial):
    x = trial.suggest_float("x", 0, 1)
    return x, 1 - x * x


def described(study):
    trials = [
        {
            "number": trial.number,
            "state": trial.state.name,
            "values": None if trial.values is None else [v if math.isfinite(v) else None for v in trial.values],
            "params": trial.params,
            "steps": {step: v if math.isfinite(v) else None for step, v in trial.intermediate_values.items()},
        }
        for trial in study.get_trials()
    ]
    best = study.best_trial.number if len(study.directions) == 1 else None
    return {"best": best, "trials": trials}


said = {}
for name, storage in [
    ("made.log", JournalStorage(JournalFileBackend(f"{folder}/made.log"))),
    ("made.db", f"sqlite:///{folder}/made.db"),
]:
    study = optuna.create_study(study_name="tuned", storage=storage, sampler=optuna.samplers.TPESampler(seed=3))
    study.set_metric_names(["valid/error"])
    study.set_user_attr("who", "somebody")
    study.optimize(objective, n_trials=40, catch=(ValueError,))
    study.ask()
    study.enqueue_trial({"lr": 0.01})
    both = optuna.create_study(study_name="two objectives", storage=storage, directions=["minimize", "maximize"])
    both.optimize(two_objectives, n_trials=5)
    said[name] = {"tuned": described(study), "two objectives": described(both)}
print(json.dumps(said))
