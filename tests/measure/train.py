"""Trains one model in eager PyTorch as a user would write it who cares for speed: with a fused optimizer, data in
memory, and no loss that is read before the end.

Arguments: the model (digits_mlp, digits_cnn, fashion_cnn), the batch size, the steps, the data (digits.csv.gz or the
folder of Fashion-MNIST). Prints the seconds of the steps and the final evaluation, the validation error and PyTorch's
version."""

import gzip
import json
import pathlib
import sys
import time

import numpy
import torch
from torch import nn

name, batch, steps, source = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
torch.set_num_threads(1)
torch.manual_seed(0)


def conv(a, b):
    return [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]


if name.startswith("digits"):
    table = numpy.loadtxt(gzip.open(source), delimiter=",", dtype=numpy.float32)
    order = numpy.random.RandomState(0).permutation(len(table))
    x, y, train = torch.tensor(table[order, :64] / 16), torch.tensor(table[order, 64], dtype=torch.long), 1257
    x_valid, y_valid = x[train : train + 270], y[train : train + 270]
else:

    def read(file):
        bytes = gzip.open(pathlib.Path(source) / file).read()
        return torch.frombuffer(bytearray(bytes), dtype=torch.uint8)

    x = read("train-images-idx3-ubyte.gz")[16:].view(-1, 1, 28, 28).float() / 255
    y, train = read("train-labels-idx1-ubyte.gz")[8:].long(), 54_000
    x_valid, y_valid = x[train:], y[train:]
x_train, y_train = x[:train], y[:train]
models = {
    "digits_mlp": lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)),
    "digits_cnn": lambda: nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *conv(1, 16), *conv(16, 32), nn.Flatten(), nn.Linear(128, 10)),
    "fashion_cnn": lambda: nn.Sequential(
        *conv(1, 16), *conv(16, 32), nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10)
    ),
}
model = models[name]()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, fused=True)
loss_of = nn.CrossEntropyLoss()
in_epoch = train // batch
started = time.perf_counter()
for step in range(steps):
    if step % in_epoch == 0:
        permutation = torch.randperm(train)
    chosen = permutation[step % in_epoch * batch :][:batch]
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of(model(x_train[chosen]), y_train[chosen])
    loss.backward()
    optimizer.step()
with torch.no_grad():
    outputs = torch.cat([model(part) for part in x_valid.split(1024)])
    error = (outputs.argmax(1) != y_valid).float().mean().item()
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "error": error, "torch": torch.__version__}))
