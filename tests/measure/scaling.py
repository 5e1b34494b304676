"""Steps to 5 % validation error on the digits against batch size, as a user would write it in PyTorch.

For each of the sizes 1, 2, …, 1024 it tries fourteen learning rates (2^-8 … 2^5) with three seeds. A run ends when it
reaches the target, diverges, or has taken 1,000 steps.

Argument: the digits (csv.gz). Prints the seconds of processor time of the experiment without the start of Python, and
the steps of each size."""

import gzip
import json
import math
import statistics
import sys
import time

import numpy
import torch

torch.set_num_threads(1)
table = numpy.loadtxt(gzip.open(sys.argv[1]), delimiter=",", dtype=numpy.float32)
order = numpy.random.RandomState(0).permutation(len(table))
x, y = torch.tensor(table[order, :64] / 16), torch.tensor(table[order, 64], dtype=torch.long)
x_train, y_train, x_valid, y_valid = x[:1257], y[:1257], x[1257:1527], y[1257:1527]
loss_of = torch.nn.CrossEntropyLoss()


def steps_to_target(batch, lr, seed):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, fused=True)
    in_epoch, evaluation = 1257 // batch, 1
    for step in range(1000):
        if step % in_epoch == 0:
            permutation = torch.randperm(1257)
        chosen = permutation[step % in_epoch * batch :][:batch]
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model(x_train[chosen]), y_train[chosen])
        loss.backward()
        optimizer.step()
        if step + 1 == evaluation:
            evaluation += max(1, evaluation // 50)
            with torch.no_grad():
                if not math.isfinite(loss.item()):
                    return math.inf
                if (model(x_valid).argmax(1) != y_valid).float().mean().item() <= 0.05:
                    return step + 1
    return math.inf


started, found = time.process_time(), {}
for k in range(11):
    batch = 2**k
    medians = [statistics.median(steps_to_target(batch, 2.0**rate, seed) for seed in range(3)) for rate in range(-8, 6)]
    found[batch] = min(medians) if min(medians) < math.inf else None
print(json.dumps({"seconds": time.process_time() - started, "steps": found, "torch": torch.__version__}))
