"""Measures the seconds that Optuna with SQLite needs for a trial with ten reported measurements. Nothing is trained."""

import json
import pathlib
import tempfile
import time

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
TRIALS = 60
storage = f"sqlite:///{pathlib.Path(tempfile.mkdtemp()) / 'study.db'}"
study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))


def objective(trial):
    lr = trial.suggest_float("lr", 1e-4, 1.0, log=True)
    for step in range(10):
        trial.report(lr / (step + 1), step)
    return lr


started = time.perf_counter()
study.optimize(objective, n_trials=TRIALS)
print(json.dumps({"version": optuna.__version__, "seconds": (time.perf_counter() - started) / TRIALS}))
