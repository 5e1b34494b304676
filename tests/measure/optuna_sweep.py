"""The sweep of the benchmark as a user would write it with Optuna and PyTorch: 24 trials of 1,000 steps on the digits.

Arguments: the digits (csv.gz), n_jobs. Prints the seconds of the whole study and its best validation error. The start
of Python and the import of PyTorch do not count."""

import gzip
import json
import pathlib
import sys
import tempfile
import time

import numpy
import optuna
import torch

optuna.logging.set_verbosity(optuna.logging.ERROR)
torch.set_num_threads(1)
table = numpy.loadtxt(gzip.open(sys.argv[1]), delimiter=",", dtype=numpy.float32)
order = numpy.random.RandomState(0).permutation(len(table))
x, y = torch.tensor(table[order, :64] / 16), torch.tensor(table[order, 64], dtype=torch.long)
x_train, y_train, x_valid, y_valid = x[:1257], y[:1257], x[1257:1527], y[1257:1527]


def objective(trial):
    layers = trial.suggest_int("hidden_layers", 1, 3)
    lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)
    generator = torch.Generator().manual_seed(trial.number)
    widths = [64] + [64] * layers
    modules = []
    for a, b in zip(widths, widths[1:]):
        modules += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    model = torch.nn.Sequential(*modules, torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    best, step = 1.0, 0
    while step < 1000:
        permutation = torch.randperm(len(x_train), generator=generator)
        for start in range(0, len(x_train) - 63, 64):
            chosen = permutation[start:start + 64]
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x_train[chosen]), y_train[chosen])
            loss.backward()
            optimizer.step()
            step += 1
            if step % 100 == 0:
                with torch.no_grad():
                    error = (model(x_valid).argmax(1) != y_valid).float().mean().item()
                trial.report(error, step)
                best = min(best, error)
            if step == 1000:
                break
    return best


storage = f"sqlite:///{pathlib.Path(tempfile.mkdtemp()) / 'study.db'}"
study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
started = time.perf_counter()
study.optimize(objective, n_trials=24, n_jobs=int(sys.argv[2]))
print(json.dumps({"seconds": time.perf_counter() - started, "best": study.best_value, "torch": torch.__version__}))
