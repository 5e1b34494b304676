"""The samplers against Optuna's on functions whose minimum is known.

Arguments: the program that answers for our samplers, the number of seeds, then names of functions (without any, those
that are not in OTHERS). Prints the regret (median and quartiles over the seeds) after 25, 50 and 100 trials, asked for
one at a time and in batches of 10, and a paired test against the better of Optuna's two samplers. Each processor runs
one seed at a time. The last line is JSON.
"""

import functools
import json
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
import warnings

import ioh
import optuna
from scipy.stats import wilcoxon

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore")
TRIALS, COUNTS, BATCHES = 100, (25, 50, 100), (1, 10)
OURS, THEIRS = ("quasirandom", "sobol", "bayes"), ("optuna-tpe", "optuna-gp")


def branin(u):
    x, y = 15 * u[0] - 5, 15 * u[1]
    bowl = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return bowl**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def hartmann(u):
    a = [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    p = [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ]
    hills = [sum(a[k][j] * (u[j] - p[k][j]) ** 2 for j in range(6)) for k in range(4)]
    return -sum(w * math.exp(-hill) for w, hill in zip([1.0, 1.2, 3.0, 3.2], hills))


def levy(u):
    w = [1 + (20 * x - 10 - 1) / 4 for x in u]
    middle = sum((x - 1) ** 2 * (1 + 10 * math.sin(math.pi * x + 1) ** 2) for x in w[:-1])
    return math.sin(math.pi * w[0]) ** 2 + middle + (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)


def dl4(u):
    """None where it is infeasible."""
    effective = (5 * u[0] - 5) - (3 * u[1] - 3)
    if effective > 0:
        return None
    q = (6 * u[2] - 3) ** 2
    rest = 0.1 * (0.8 * u[3] - 0.2) ** 2 + 0.01 * (3 * u[1] - 2) ** 2
    return 0.02 + 0.05 * (effective + 0.7) ** 2 + 0.02 * q / (1 + 0.2 * q) + rest


def camel(u):
    x, y = 6 * u[0] - 3, 4 * u[1] - 2
    return (4 - 2.1 * x * x + x**4 / 3) * x * x + x * y + (4 * y * y - 4) * y * y


def ackley(u):
    """Its minimum is not at the centre of the space, where a sampler may begin."""
    x = [30 * v - 12 for v in u]
    valley = 20 * math.exp(-0.2 * math.sqrt(sum(v * v for v in x) / len(x)))
    return 20 + math.e - valley - math.exp(sum(math.cos(2 * math.pi * v) for v in x) / len(x))


def rosenbrock(u):
    x = [4 * v - 2 for v in u]
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in zip(x, x[1:]))


def styblinski_tang(u):
    return sum(x**4 - 16 * x * x + 5 * x for x in (10 * v - 5 for v in u)) / 2


def unit(count):
    return {f"x{k}": {"low": 0.0, "high": 1.0} for k in range(count)}


def flat(function):
    return lambda params: function(list(params.values()))


def conditional(params):
    """dl4 in two branches. The second one is worse by 0.01 and has an x0 and an x3 of its own."""
    first = params["branch"] == "a"
    x0, x3 = (params["x0"], params["x3"]) if first else (params["z0"], 1 - params["z3"])
    value = dl4([x0, params["x1"], params["x2"], x3])
    return value if first or value is None else value + 0.01


def bbob(number):
    """A function of the BBOB suite, instance 1, of 5 dimensions in [-5, 5]."""
    problem = ioh.get_problem(number, 1, 5, ioh.ProblemClass.BBOB)
    return unit(5), flat(lambda u: problem([10 * x - 5 for x in u])), problem.optimum.y


TREE = {
    "branch": {"values": ["a", "b"]},
    **{f"x{k}": {"low": 0.0, "high": 1.0} for k in (1, 2)},
    **{f"{name}{k}": {"low": 0.0, "high": 1.0, "when": {"branch": branch}}
       for branch, name in (("a", "x"), ("b", "z")) for k in (0, 3)},
}
FUNCTIONS = {
    "branin": (unit(2), flat(branin), 0.39788735772973816),
    "hartmann6": (unit(6), flat(hartmann), -3.322368011391339),
    "levy5": (unit(5), flat(levy), 0.0),
    "dl4": (unit(4), flat(dl4), 0.02),
    "dl4-conditional": (TREE, conditional, 0.02),
    **{f"bbob-f{number}": bbob(number) for number in (1, 8, 15, 21)},
}
# Functions on which no sampler was chosen. They run if they are named.
OTHERS = {
    "camel": (unit(2), flat(camel), -1.0316284534898774),
    "ackley5": (unit(5), flat(ackley), 0.0),
    "rosenbrock4": (unit(4), flat(rosenbrock), 0.0),
    "styblinski-tang5": (unit(5), flat(styblinski_tang), 5 * -39.16616570377142),
    **{f"bbob-f{number}": bbob(number) for number in range(2, 25) if number not in (8, 15, 21)},
}
ALL = FUNCTIONS | OTHERS


class Ours:
    """One of our samplers, which a process answers for: a line of JSON each way."""

    def __init__(self, program, sampler, space, seed):
        arguments = [program, "ask-tell", sampler, str(seed), json.dumps(space)]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.asked = 0

    def ask(self):
        self.asked += 1
        self.process.stdin.write(json.dumps({"ask": self.asked - 1}) + "\n")
        self.process.stdin.flush()
        return self.asked - 1, json.loads(self.process.stdout.readline())

    def tell(self, index, value):
        self.process.stdin.write(json.dumps({"tell": index, "value": value}) + "\n")

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Theirs:
    def __init__(self, sampler, space, seed):
        made = {"optuna-tpe": optuna.samplers.TPESampler, "optuna-gp": optuna.samplers.GPSampler}[sampler](seed=seed)
        self.study, self.space = optuna.create_study(sampler=made), space

    def ask(self):
        trial, params = self.study.ask(), {}
        for name, range_ in self.space.items():
            if any(params.get(parent) != value for parent, value in range_.get("when", {}).items()):
                continue
            if "values" in range_:
                params[name] = trial.suggest_categorical(name, range_["values"])
            else:
                params[name] = trial.suggest_float(name, range_["low"], range_["high"])
        return trial, params

    def tell(self, trial, value):
        if value is None:
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(trial, value)

    def end(self):
        pass


def run(program, sampler, function, seed, batch):
    """The best value after each trial, the share of infeasible trials after trial 50, and seconds for a suggestion."""
    space, value_of, _ = ALL[function]
    peer = Theirs(sampler, space, seed) if sampler in THEIRS else Ours(program, sampler, space, seed)
    values, seconds = [], 0.0
    while len(values) < TRIALS:
        started = time.perf_counter()
        asked = [peer.ask() for _ in range(min(batch, TRIALS - len(values)))]
        seconds += time.perf_counter() - started
        for key, params in asked:
            values.append(value_of(params))
            peer.tell(key, values[-1])
    peer.end()
    best, bests = math.inf, []
    for value in values:
        best = best if value is None else min(best, value)
        bests.append(best)
    return bests, sum(value is None for value in values[50:]) / 50, seconds / TRIALS


def main():
    program, seeds = sys.argv[1], int(sys.argv[2])
    functions = sys.argv[3:] or list(FUNCTIONS)
    results = []
    # Each process computes with one thread, Optuna's Gaussian process too.
    os.environ["OMP_NUM_THREADS"] = "1"
    pool = multiprocessing.get_context("spawn").Pool(os.cpu_count())
    for function in functions:
        minimum = ALL[function][2]
        for batch in BATCHES:
            regrets, infeasible, cost = {}, {}, {}
            for sampler in OURS + THEIRS:
                one = functools.partial(run, program, sampler, function, batch=batch)
                runs = pool.map(one, range(seeds), chunksize=1)
                regrets[sampler] = {n: [bests[n - 1] - minimum for bests, _, _ in runs] for n in COUNTS}
                infeasible[sampler] = statistics.mean(share for _, share, _ in runs)
                cost[sampler] = 1000 * statistics.median(seconds for _, _, seconds in runs)
                text = f"{function:16} batch {batch:2} {sampler:12}"
                for n in COUNTS:
                    low, middle, high = quartiles(regrets[sampler][n])
                    text += f"  @{n} {middle:.3g} [{low:.2g}, {high:.2g}]"
                text += f"  infeasible after 50: {infeasible[sampler]:.3f}  {cost[sampler]:.1f} ms"
                print(text, file=sys.stderr, flush=True)
            for n in COUNTS:
                better = min(THEIRS, key=lambda name: statistics.median(regrets[name][n]))
                p = worse(regrets["bayes"][n], regrets[better][n])
                verdict = "worse" if p <= 0.05 else "not worse"
                print(f"{function:16} batch {batch:2} @{n}: bayes is {verdict} than {better} (paired, one-sided p = "
                      f"{p:.3f}, {seeds} seeds)", file=sys.stderr, flush=True)
                results.append({
                    "function": function, "batch": batch, "trials": n, "peer": better, "p": p,
                    "ours": statistics.median(regrets["bayes"][n]), "theirs": statistics.median(regrets[better][n]),
                    "mean": statistics.mean(regrets["bayes"][n]), "minimum": minimum,
                    "infeasible": [infeasible["bayes"], infeasible[better]], "cost": [cost["bayes"], cost[better]],
                })
    print(json.dumps({"version": optuna.__version__, "results": results}))


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0], values[0]
    return statistics.quantiles(values, n=4, method="inclusive")


def worse(ours, theirs):
    """The chance of such ranks of the paired differences, or of larger ones, if neither were better."""
    differences = [a - b if math.isfinite(a) or math.isfinite(b) else 0.0 for a, b in zip(ours, theirs)]
    if not any(differences):
        return 1.0
    return float(wilcoxon(differences, alternative="greater", zero_method="zsplit").pvalue)


if __name__ == "__main__":
    main()
