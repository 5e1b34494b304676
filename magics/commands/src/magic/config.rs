//! The settings of a session, which `%config` shows and changes.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;
use tunebook_study::store::STUDIES;

/// A setting that `%config` shows and changes.
pub struct Setting {
    pub name: &'static str,
    pub kind: SettingKind,
    /// What holds if it is not set.
    pub default: &'static str,
    pub meaning: &'static str,
}

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    Switch,
    /// A whole number of at least 1.
    Count,
    Duration,
    /// The value of an environment variable, which `%env` changes too. If there are choices, it is one of them.
    Variable {
        name: &'static str,
        choices: &'static [&'static str],
    },
}

pub const CHARTS_PNG: &str = "charts.png";
pub const PARALLEL: &str = "trials.parallel";
pub const PER_GPU: &str = "trials.per_gpu";
pub const TIMEOUT: &str = "trials.timeout";

/// All settings, in the order in which `%config` lists them.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: CHARTS_PNG,
        kind: SettingKind::Switch,
        default: "false",
        meaning: "each chart is shown as a PNG picture too, as with `--png`: for LaTeX, and for programs without HTML",
    },
    Setting {
        name: PARALLEL,
        kind: SettingKind::Count,
        default: "one on each device",
        meaning: "trials that run at the same time, if `--parallel` is not given",
    },
    Setting {
        name: PER_GPU,
        kind: SettingKind::Count,
        default: "1",
        meaning: "trials that share a GPU, if `--per-gpu` is not given",
    },
    Setting {
        name: TIMEOUT,
        kind: SettingKind::Duration,
        default: "none",
        meaning: "time limit of a trial, if `--timeout` is not given: 30s, 30m, 2h",
    },
    Setting {
        name: "studies.file",
        kind: SettingKind::Variable { name: STUDIES, choices: &[] },
        default: ".tunebook/studies.db",
        meaning: "the file of the studies; the same as `%env TUNEBOOK_STUDIES=FILE`",
    },
    Setting {
        name: "data.place",
        kind: SettingKind::Variable { name: "TUNEBOOK_DATA", choices: &["host", "device"] },
        default: "by their size",
        meaning: "where training data are: `host` in the host's memory, `device` on the GPU (default: there up to 4 GiB)",
    },
    Setting {
        name: "data.fashion_mnist",
        kind: SettingKind::Variable { name: "TUNEBOOK_FASHION_MNIST", choices: &[] },
        default: "Debian's package",
        meaning: "the folder of the Fashion-MNIST files",
    },
];

/// The setting of a name.
pub fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// The value of a setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SettingValue {
    Switch(bool),
    Count(u32),
    Duration(Duration),
}

/// The settings that were changed and are no environment variables. They last for the session.
#[derive(Default)]
pub struct Config(Mutex<BTreeMap<&'static str, SettingValue>>);

impl Config {
    /// The value of a setting. None if it was not set.
    pub fn get(&self, name: &str) -> Option<SettingValue> {
        self.0.lock().get(name).copied()
    }

    pub fn set(&self, name: &'static str, value: SettingValue) {
        self.0.lock().insert(name, value);
    }

    pub fn reset(&self, name: &str) {
        self.0.lock().remove(name);
    }

    /// Whether charts are shown as PNG pictures too.
    pub fn charts_png(&self) -> bool {
        self.get(CHARTS_PNG) == Some(SettingValue::Switch(true))
    }

    /// The number of trials that run at the same time.
    pub fn parallel(&self) -> Option<usize> {
        self.count(PARALLEL)
    }

    /// The number of trials that share a GPU.
    pub fn per_gpu(&self) -> Option<usize> {
        self.count(PER_GPU)
    }

    /// The time limit of a trial.
    pub fn timeout(&self) -> Option<Duration> {
        match self.get(TIMEOUT) {
            Some(SettingValue::Duration(limit)) => Some(limit),
            _ => None,
        }
    }

    fn count(&self, name: &str) -> Option<usize> {
        match self.get(name) {
            Some(SettingValue::Count(count)) => Some(count as usize),
            _ => None,
        }
    }
}
