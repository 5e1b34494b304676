"""Reads what `%study export` wrote with the programs that it is for, and prints what they say."""

import json
import math
import sys
import threading
import urllib.request
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import optuna
import pandas
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna_dashboard import wsgi
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

optuna.logging.set_verbosity(optuna.logging.ERROR)
folder, name = Path(sys.argv[1]), sys.argv[2]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def dashboard(storage):
    """What the API of optuna-dashboard says."""
    server = make_server("127.0.0.1", 0, wsgi(storage), handler_class=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def get(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}{path}", timeout=60) as answer:
            return json.load(answer)

    studies = get("/api/studies")["study_summaries"]
    one = next(study for study in studies if study["study_name"] == name)
    detail = get(f"/api/studies/{one['study_id']}")
    server.shutdown()
    return {"studies": [study["study_name"] for study in studies], "trials": len(detail["trials"])}


def optuna_says(storage):
    study = optuna.load_study(study_name=name, storage=storage)
    best, trials = study.best_trial, study.get_trials()
    said = {
        "directions": [direction.name for direction in study.directions],
        "metric": study.metric_names,
        "best": {"number": best.number, "value": best.value, "params": best.params},
        "states": [trial.state.name for trial in trials],
        "steps": [len(trial.intermediate_values) for trial in trials],
        "seconds": [trial.duration.total_seconds() for trial in trials],
        "importances": list(optuna.importance.get_param_importances(study)),
        "dashboard": dashboard(storage),
    }
    # The study goes on.
    asked = study.ask({key: d for key, d in best.distributions.items()})
    study.tell(asked, best.value + 1.0)
    said["told"] = {"number": asked.number, "trials": len(study.get_trials()), "best": study.best_trial.number}
    return said


def cells(frame):
    """The columns as lists; a cell without a value is null."""
    text = frame.assign(**{c: frame[c].astype(str) for c in frame.columns if "datetime" in str(frame[c].dtype)})
    return {
        column: [None if value is None or value is pandas.NA or value != value else value for value in values]
        for column, values in text.astype(object).to_dict("list").items()
    }


def board():
    """What TensorBoard reads from the folder."""
    said = {}
    for run in sorted(path for path in (folder / "runs").iterdir() if path.is_dir()):
        events = EventAccumulator(str(run))
        events.Reload()
        curves = {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        start = plugin_data_pb2.HParamsPluginData.FromString(
            events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
        ).session_start_info
        values = {key: getattr(value, value.WhichOneof("kind")) for key, value in start.hparams.items()}
        finite = {tag: [p for p in points if math.isfinite(p[1])] for tag, points in curves.items()}
        said[run.name] = {"curves": finite, "hparams": values}
    events = EventAccumulator(str(folder / "runs"))
    events.Reload()
    content = events.PluginTagToContent("hparams")["_hparams_/experiment"]
    experiment = plugin_data_pb2.HParamsPluginData.FromString(content).experiment
    metrics = [metric.name.tag for metric in experiment.metric_infos]
    return {"runs": said, "hparams": [h.name for h in experiment.hparam_infos], "metrics": metrics}


said = {
    "journal": optuna_says(JournalStorage(JournalFileBackend(str(folder / "out.log")))),
    "database": optuna_says(RDBStorage(f"sqlite:///{folder}/out.db")),
    "csv": cells(pandas.read_csv(folder / "out.csv", float_precision="round_trip")),
    "parquet": cells(pandas.read_parquet(folder / "out.parquet")),
    "measurements": cells(pandas.read_parquet(folder / "steps.parquet")),
    "tensorboard": board(),
}
print(json.dumps(said))
