"""Measures Optuna with a large study in its SQLite storage. Optuna creates the study and one trial, and the rows of the
others are inserted in bulk: through its own interface, 100,000 trials of 20 measurements would take hours.

Arguments: the number of trials and the number of measurements of each."""

import json
import math
import pathlib
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
TRIALS, MEASUREMENTS = int(sys.argv[1]), int(sys.argv[2])
# The measurements are made in a second process, so that its memory is not that of the one that inserts.
path = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else pathlib.Path(tempfile.mkdtemp()) / "study.db"
storage = f"sqlite:///{path}"


def objective(trial):
    trial.suggest_int("a", 1, 3)
    trial.suggest_float("x", 0, 1)
    trial.suggest_float("lr", 1e-4, 1, log=True)
    trial.report(1.0, 0)
    return 1.0


def insert():
    study = optuna.create_study(study_name="large", storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=1)
    database = sqlite3.connect(path)
    distributions = dict(database.execute("SELECT param_name, distribution_json FROM trial_params"))
    study_id = database.execute("SELECT study_id FROM studies").fetchone()[0]
    numbers, date = random.Random(1), "2026-01-01 00:00:00.000000"
    trials, values, params, reported = [], [], [], []
    for number in range(1, TRIALS):
        key, a, x, lr = number + 1, numbers.randint(1, 3), numbers.random(), 10 ** numbers.uniform(-4, 0)
        base = 0.1 + (x - 0.3) ** 2 + (math.log10(lr) + 2) ** 2 / 20 + 0.02 * a
        curve = [base + 1 / k + 0.01 * numbers.gauss(0, 1) for k in range(1, MEASUREMENTS + 1)]
        trials.append((key, number, study_id, "COMPLETE", date, date))
        values.append((key, 0, min(curve), "FINITE"))
        for name, value in (("a", a), ("x", x), ("lr", lr)):
            params.append((key, name, value, distributions[name]))
        reported += [(key, 100 * (k + 1), value, "FINITE") for k, value in enumerate(curve)]
    many = database.executemany
    many("INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) "
         "VALUES (?, ?, ?, ?, ?, ?)", trials)
    many("INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, ?, ?, ?)", values)
    many("INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?, ?, ?, ?)", params)
    many("INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
         "VALUES (?, ?, ?, ?)", reported)
    database.commit()
    database.close()


def measure():
    found = {"version": optuna.__version__, "bytes": path.stat().st_size}
    started = time.perf_counter()
    study = optuna.load_study(study_name="large", storage=storage)
    assert len(study.get_trials(deepcopy=False)) == TRIALS
    found["open"] = time.perf_counter() - started
    study = optuna.load_study(study_name="large", storage=storage)
    try:
        started = time.perf_counter()
        optuna.visualization.plot_slice(study).to_json()
        found["slice"] = time.perf_counter() - started
    except ImportError:
        found["slice"] = None
    study = optuna.load_study(study_name="large", storage=storage)
    started = time.perf_counter()
    optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    found["importances"] = time.perf_counter() - started
    found["memory"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(found))


if len(sys.argv) > 3:
    measure()
else:
    insert()
    subprocess.run([sys.executable, __file__, *sys.argv[1:3], str(path)], check=True)
