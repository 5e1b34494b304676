"""What Optuna concludes from studies that were simulated with a known truth.

Argument: a file of studies as JSON, one a line: `space` (`{"low", "high"}` or `{"values"}` by name) and `trials`
(`params`, and `value` or null where the configuration is infeasible). The last line that this prints is JSON: for each
study the number of its best trial (which is also the best point of the slice plot) and the importance of each
hyperparameter, by Optuna's default evaluator. Both are null without a complete trial.
"""

import json
import sys
import warnings

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore")


def distribution(range_):
    if "values" in range_:
        return CategoricalDistribution(range_["values"])
    return FloatDistribution(range_["low"], range_["high"])


def conclusions(line):
    simulated = json.loads(line)
    space = {name: distribution(range_) for name, range_ in simulated["space"].items()}
    study = optuna.create_study()
    for trial in simulated["trials"]:
        state = {"state": TrialState.FAIL} if trial["value"] is None else {"value": trial["value"]}
        distributions = {name: space[name] for name in trial["params"]}
        study.add_trial(create_trial(params=trial["params"], distributions=distributions, **state))
    complete = study.get_trials(states=[TrialState.COMPLETE])
    if len(complete) < 2:
        return {"best": None, "importance": None}
    return {"best": study.best_trial.number, "importance": optuna.importance.get_param_importances(study)}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        studies = [conclusions(line) for line in file]
    print(json.dumps({"version": optuna.__version__, "studies": studies}))
