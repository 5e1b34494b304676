//! What is concluded from simulated studies with a known truth, by the functions that the magics call and by Optuna
//! (`measure/conclusions.py`), side by side. The surfaces are those of the calibration of `magics/analysis`.

#[path = "../../../../magics/analysis/tests/calibration/surfaces.rs"]
#[expect(dead_code, reason = "the calibration uses more of it")]
mod surfaces;

use super::{Line, python};
use anyhow::{Context, Result};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::Write;
use surfaces::{Random, SURFACES, Surface, definition, objective, trial};
use tunebook_analysis::{Importance, Isolation, Level, best_trial, importance, isolation, seeds};
use tunebook_study::*;

/// The number of studies of each problem and size, unless `--studies N` says another.
const STUDIES: usize = 40;
/// The numbers of configurations of a study.
const SIZES: [u32; 3] = [10, 30, 100];
/// The number of new runs of the best configuration.
const NEW_RUNS: u32 = 5;

/// A tuning problem: two values of a scientific hyperparameter, some nuisances that matter, and one that does not.
struct Problem {
    surface: &'static Surface,
    /// By how much the first value is better than the second one.
    gain: f64,
    /// The number of seeds of each configuration.
    repeats: u32,
    /// Whether the first nuisance is there twice, once for each branch of a conditional space.
    is_conditional: bool,
}

/// A simulated study with its truth.
struct Simulated {
    definition: StudyDefinition,
    trials: Vec<Trial>,
    /// The mean of the objective of each trial over seeds. None if it is infeasible.
    means: Vec<Option<f64>>,
    /// The best of another study of this kind, of the first value.
    next_best: f64,
}

/// The hyperparameter without effect.
const DUMMY: &str = "dummy";

impl Problem {
    fn definition(&self) -> Result<StudyDefinition> {
        let mut definition = definition(2, self.surface.nuisances, self.repeats);
        let (name, distribution) = (DUMMY.to_string(), Distribution::uniform(0.0, 1.0)?);
        definition.space.declare(Hyperparameter { name, role: Role::Nuisance, distribution, conditions: vec![] })?;
        if self.is_conditional {
            let mut space = SearchSpace::new();
            let distribution = Distribution::choice(vec![1.into(), 2.into()])?;
            let branch =
                Hyperparameter { name: "branch".into(), role: Role::Nuisance, distribution, conditions: vec![] };
            space.declare(branch)?;
            for mut h in definition.space.hyperparameters().iter().cloned() {
                if h.name == "x0" {
                    let when = |value: i64| vec![Condition { name: "branch".into(), values: vec![value.into()] }];
                    space.declare(Hyperparameter { name: "z0".into(), conditions: when(2), ..h.clone() })?;
                    h.conditions = when(1);
                }
                space.declare(h)?;
            }
            definition.space = space;
        }
        Ok(definition)
    }

    fn trials(&self, configurations: u32, random: &mut Random) -> (Vec<Trial>, Vec<Option<f64>>) {
        let (mut trials, mut means) = (vec![], vec![]);
        for configuration in 0..configurations {
            let x: Vec<f64> = (0..self.surface.nuisances).map(|_| random.uniform()).collect();
            let (arm, branch, dummy) = (1 + i64::from(configuration % 2), random.uniform() < 0.5, random.uniform());
            let mean = (self.surface.value)(&x).map(|y| if arm == 1 { y - self.gain } else { y });
            for _ in 0..self.repeats {
                let value = mean.map(|mean| mean + self.surface.noise * random.normal());
                let mut trial = trial(trials.len() as u32 + 1, configuration, arm, &x, value);
                trial.params.insert(DUMMY.into(), dummy.into());
                if self.is_conditional {
                    trial.params.insert("branch".into(), if branch { 1 } else { 2 }.into());
                    if !branch {
                        trial.params.shift_remove("x0");
                        trial.params.insert("z0".into(), x[0].into());
                    }
                }
                trials.push(trial);
                means.push(mean);
            }
        }
        (trials, means)
    }

    fn simulate(&self, configurations: u32, random: &mut Random) -> Result<Simulated> {
        let (trials, means) = self.trials(configurations, random);
        let definition = self.definition()?;
        let next = isolation(&definition, &self.trials(configurations, random).0, "arm", None, &objective());
        let next_best = next.ok().and_then(|found| found.points[0].objective).unwrap_or(f64::INFINITY);
        Ok(Simulated { definition, trials, means, next_best })
    }
}

impl Simulated {
    /// The study as one line for Optuna.
    fn exported(&self) -> Json {
        let range = |distribution: &Distribution| match distribution {
            Distribution::Choice { values } => json!({ "values": values }),
            _ => json!({ "low": 0.0, "high": 1.0 }),
        };
        let hyperparameters = self.definition.space.hyperparameters().iter();
        let space: BTreeMap<&str, Json> = hyperparameters.map(|h| (h.name.as_str(), range(&h.distribution))).collect();
        let value = |trial: &Trial| objective().of(trial).map(|(value, _)| value);
        let trials = self.trials.iter().map(|trial| json!({ "params": trial.params, "value": value(trial) }));
        json!({ "space": space, "trials": trials.collect::<Vec<_>>() })
    }
}

/// Counts of cases and of those in which something holds.
#[derive(Default)]
struct Share {
    sum: f64,
    cases: f64,
}

impl Share {
    fn add(&mut self, holds: bool) {
        self.add_value(f64::from(u8::from(holds)));
    }

    fn add_value(&mut self, value: f64) {
        self.sum += value;
        self.cases += 1.0;
    }

    fn value(&self) -> f64 {
        self.sum / self.cases
    }
}

/// What holds of the conclusions about a kind of studies. The first of two is ours.
#[derive(Default)]
struct Tally {
    called_different: [Share; 2],
    right: [Share; 2],
    right_when_said: Share,
    said: Share,
    misordered: [Share; 2],
    dummy_matters: Share,
    real_matters: Share,
    /// How much better the best value is than the mean of that configuration, in standard deviations of a run.
    bias: [Share; 2],
    bias_of_new_runs: Share,
    new_runs_hold: Share,
    next_best_inside: Share,
}

impl Tally {
    fn add(
        &mut self,
        problem: &Problem,
        study: &Simulated,
        (found, importance): &(Isolation, Importance),
        theirs: &Json,
        random: &mut Random,
    ) -> Result<()> {
        let objective = objective();
        let Some(best) = theirs["best"].as_u64() else { return Ok(()) };
        let their_best = &study.trials[usize::try_from(best)?];
        let comparison = found.comparison;
        let says = comparison.is_some_and(|comparison| comparison.level >= Level::L1);
        if problem.gain == 0.0 {
            self.called_different[0].add(says);
            // A best trial is always named, and nothing says that it may be chance.
            self.called_different[1].add(true);
        } else if let Some(comparison) = comparison {
            self.right[0].add(comparison.best == 0);
            self.right[1].add(their_best.params["arm"].as_i64() == Some(1));
            self.said.add(says);
            if says {
                self.right_when_said.add(comparison.best == 0);
            }
        }
        if let Some([low, high]) = found.points[0].interval {
            let next = study.next_best;
            self.next_best_inside.add(low.is_none_or(|low| low <= next) && high.is_none_or(|high| next <= high));
        }
        self.add_importance(importance, &theirs["importance"], problem);
        if problem.surface.noise > 0.0 {
            let noise = problem.surface.noise;
            let mean = |number: usize| study.means[number].unwrap_or(f64::NAN);
            let our_best = best_trial(&study.trials, &objective).context("no best trial")?;
            let our_mean = mean(our_best.trial as usize - 1);
            self.bias[0].add_value((our_mean - our_best.objective) / noise);
            let their_value = objective.of(their_best).map_or(f64::NAN, |(value, _)| value);
            self.bias[1].add_value((mean(usize::try_from(best)?) - their_value) / noise);
            // What `%seeds` and `%adopt` do: the best configuration again, with new seeds.
            let run = |number| trial(number, 0, 1, &[], Some(our_mean + noise * random.normal()));
            let again = seeds(&(1..=NEW_RUNS).map(run).collect::<Vec<_>>(), &study.trials, &objective);
            let interval = again.runs.mean_interval.context("no interval of the mean")?;
            self.bias_of_new_runs.add_value((our_mean - again.runs.mean.context("no mean")?) / noise);
            self.new_runs_hold.add((interval[0]..=interval[1]).contains(&our_mean));
        }
        Ok(())
    }

    /// Compares each hyperparameter without effect with each that has one.
    fn add_importance(&mut self, ours: &Importance, theirs: &Json, problem: &Problem) {
        let without = |label: &str| label == DUMMY || label == "branch" || (label == "arm" && problem.gain == 0.0);
        if ours.hyperparameters.is_empty() || problem.surface.name == "noise alone" {
            return;
        }
        let is_claimed = |i: &tunebook_analysis::HyperparameterImportance| i.moves_metric();
        for i in &ours.hyperparameters {
            if without(&i.hyperparameter) { &mut self.dummy_matters } else { &mut self.real_matters }
                .add(is_claimed(i));
        }
        let (dummies, real): (Vec<_>, Vec<_>) = ours.hyperparameters.iter().partition(|i| without(&i.hyperparameter));
        for (dummy, real) in dummies.iter().flat_map(|dummy| real.iter().map(move |real| (dummy, real))) {
            let of = |label: &str| theirs[label].as_f64().unwrap_or(0.0);
            self.misordered[0].add(dummy.fanova > real.fanova);
            self.misordered[1].add(of(&dummy.hyperparameter) > of(&real.hyperparameter));
        }
    }

    fn lines(&self, of: &str, version: &str) -> Vec<Line> {
        let line = |what: &str, peer: &str, ours: f64, theirs: Option<f64>| Line {
            what: format!("{of}: {what}"),
            ours,
            peer: format!("Optuna {version}, {peer}"),
            theirs: theirs.filter(|x| x.is_finite()),
            unit: "",
            target: None,
        };
        let [value, none] = [|share: &Share| Some(share.value()), |_: &Share| None];
        let all = vec![
            line(
                "equal values called different",
                "best trial",
                self.called_different[0].value(),
                value(&self.called_different[1]),
            ),
            line("better value is named", "best trial", self.right[0].value(), value(&self.right[1])),
            line("better value is said to be better", "says nothing", self.said.value(), none(&self.said)),
            line("what is said to be better is", "says nothing", self.right_when_said.value(), None),
            line(
                "no effect ranks above an effect",
                "importance",
                self.misordered[0].value(),
                value(&self.misordered[1]),
            ),
            line("no effect is said to be one", "says nothing", self.dummy_matters.value(), None),
            line("an effect is said to be one", "says nothing", self.real_matters.value(), None),
            line("best value is too good by (SDs of a run)", "best trial", self.bias[0].value(), value(&self.bias[1])),
            line("mean of new runs is too good by (SDs)", "does not run it again", self.bias_of_new_runs.value(), None),
            line("interval of new runs holds the mean", "no interval", self.new_runs_hold.value(), None),
            line("interval holds the next study's best", "no interval", self.next_best_inside.value(), None),
        ];
        all.into_iter().filter(|line| line.ours.is_finite()).collect()
    }
}

/// The problems: each surface with values that are equal and with values that differ, and some with seeds or branches.
fn problems() -> Vec<Problem> {
    let of = |name: &str, gain: f64, repeats: u32, is_conditional: bool| -> Option<Problem> {
        let surface = SURFACES.iter().find(|surface| surface.name == name)?;
        Some(Problem { surface, gain, repeats, is_conditional })
    };
    let mut all = vec![];
    for (name, gain) in [
        ("bowl of 2", 0.03),
        ("bowl of 3, noisy", 0.1),
        ("bowl of 6", 0.1),
        ("dl4", 0.03),
        ("dl4, noisy", 0.03),
        ("noise alone", 0.1),
    ] {
        all.extend([of(name, 0.0, 1, false), of(name, gain, 1, false)]);
    }
    all.extend([of("dl4, noisy", 0.0, 3, false), of("noise alone", 0.0, 3, false), of("noise alone", 0.1, 3, false)]);
    all.extend([of("dl4, noisy", 0.0, 1, true), of("dl4, noisy", 0.03, 1, true)]);
    all.into_iter().flatten().collect()
}

pub fn lines(arguments: &[String]) -> Result<Vec<Line>> {
    let asked = arguments.iter().skip_while(|word| *word != "--studies").nth(1);
    let studies = asked.map_or(Ok(STUDIES), |count| count.parse()).context("--studies takes a number")?;
    let problems = problems();
    println!("conclusions: {} problems, {studies} studies of {SIZES:?} configurations each …", problems.len());
    let mut random = Random::new(71);
    let mut file = tempfile::NamedTempFile::new()?;
    let mut all = vec![];
    for (problem, size) in problems.iter().flat_map(|problem| SIZES.map(|size| (problem, size))) {
        for _ in 0..studies {
            let simulated = problem.simulate(size, &mut random)?;
            writeln!(file, "{}", simulated.exported())?;
            all.push((problem, size, simulated));
        }
    }
    file.flush()?;
    let measured = python("conclusions.py", &[&file.path().display().to_string()])?;
    let version = measured["version"].as_str().unwrap_or("?");
    let mut tallies: BTreeMap<(u32, String), Tally> = BTreeMap::new();
    for (i, (problem, size, simulated)) in all.iter().enumerate() {
        let conditional = if problem.is_conditional { ", branches" } else { "" };
        let seeds = if problem.repeats > 1 { ", 3 seeds" } else { "" };
        let keys = [
            (0, "all".to_string()),
            (*size, format!("{size} configurations")),
            (u32::MAX, format!("{}{conditional}{seeds}", problem.surface.name)),
        ];
        let Simulated { definition, trials, .. } = simulated;
        // Without an objective neither says anything.
        let Ok(found) = isolation(definition, trials, "arm", None, &objective()) else { continue };
        let ours = (found, importance(definition, trials, &objective()));
        for key in keys {
            tallies.entry(key).or_default().add(problem, simulated, &ours, &measured["studies"][i], &mut random)?;
        }
    }
    Ok(tallies.iter().flat_map(|((_, of), tally)| tally.lines(of, version)).collect())
}
