//! `%adopt STUDY --candidate TRIAL --baseline TRIAL`: trains both configurations again with new seeds, and says whether
//! the gain is real (Playbook F4; methods 2.e.4 and 2.e.5).

mod repeats;
mod sentences;

use self::repeats::repeats;
use self::sentences::sentences;
use crate::commands::seeds::display::{ArmCaption, RerunDisplay};
use crate::commands::seeds::rerun::{
    ACCEPT_CHANGES, Arm, PARALLEL, RerunOptions, Rerunner, TIMEOUT, number_of, seeds_of,
};
use crate::commands::seeds::{DEFAULT_REPEATS, interrupted, no_run};
use crate::commands::sweep::changes;
use crate::error::{ErrorName, Result};
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, Magic, Subject};
use crate::report::Report;
use crate::report::table::{Rows, interval_or_dash, number, number_or_dash};
use crate::studies::{JUDGING, Judging, trial_of, validation};
use crate::syntax::{Arguments, PNG, Word, option};
use serde_json::json;
use tunebook_analysis::{Adoption, Runs, adoption};

pub const MAGIC: Magic = Magic {
    name: "adopt",
    line: true,
    body: None,
    usage: "%adopt STUDY --candidate TRIAL --baseline TRIAL [--repeats N]",
    example: "%adopt depth --candidate 7 --baseline 3 --repeats 5",
    summary: "Train two configurations again with new seeds, and say whether one is really better",
    help: "Both trials are trained again with the same new seeds, never with those of the study. With `--repeats` in \
        the study, a trial stands for its configuration. The runs are trials of separate studies, `STUDY.trialI`, \
        which `%seeds` uses too. If you run the line again, nothing is trained and the record is shown; a larger \
        `--repeats`, or the same line after an interrupt, trains what is missing.\n\n\
        The candidate should be adopted if its runs are so far ahead that equal configurations would look like this in \
        at most 3 % of cases (exact Mann–Whitney test), each has five new runs or more, and the candidate is better in \
        at least 85 % of the pairs of runs, or 90 % if some of its runs are infeasible. An infeasible run is worse \
        than all others. Three runs of each can never distinguish two configurations, and then there is no verdict.\n\n\
        Such a verdict is at level L2. If the whole study was run again under another name and with another `--seed`, \
        its order of the scientific values is looked at too: if it is the same, and clear, the level is L3.",
    options: &[
        option("candidate", Some("TRIAL"), "the number of the trial that may be adopted"),
        option("baseline", Some("TRIAL"), "the number of the trial that it is compared with"),
        option("repeats", Some("N"), "new runs of each (default: 5)"),
        PARALLEL,
        TIMEOUT,
        ACCEPT_CHANGES,
        JUDGING[0],
        JUDGING[1],
        JUDGING[2],
        PNG,
    ],
    subject: Subject::Study,
    export: Export::Comment,
    parse,
};

struct Adopt {
    arguments: Arguments,
    study: Word,
    candidate: u32,
    baseline: u32,
    options: RerunOptions,
    judging: Judging,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let study = arguments.required(0, "the study")?.clone();
    arguments.at_most(1)?;
    let (candidate, baseline) = (number_of(&arguments, "candidate")?, number_of(&arguments, "baseline")?);
    let options = RerunOptions::new(&arguments, DEFAULT_REPEATS)?;
    let judging = Judging::new(&arguments)?;
    Ok(Box::new(Adopt { arguments, study, candidate, baseline, options, judging }))
}

impl Command for Adopt {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, interrupt: &Interrupt) -> Result<()> {
        let (store, study) = context.study(&self.arguments.source, &self.study)?;
        let trials = store.trials(&study)?;
        let objective = self.judging.objective(&self.arguments.source, &study.definition, &trials)?;
        let rerunner = Rerunner {
            context,
            arguments: &self.arguments,
            word: &self.study,
            study: &study,
            trials: &trials,
            objective: &objective,
            options: &self.options,
        };
        let (candidate, baseline) =
            (rerunner.arm("candidate", self.candidate)?, rerunner.arm("baseline", self.baseline)?);
        if candidate.configuration == baseline.configuration {
            let message = match self.candidate == self.baseline {
                true => format!("trial {} cannot be compared with itself", self.candidate),
                false => {
                    format!("trials {} and {} are two seeds of the same configuration", self.candidate, self.baseline)
                }
            };
            let (candidate, options) = (self.candidate, self.judging.options());
            let help = format!("`%seeds {} --trial {candidate}{options}` shows how much it varies", study.name);
            let span = rerunner.span("baseline");
            return Err(self.arguments.source.error(ErrorName::InvalidValue, span, message, Some(help)));
        }
        let caption =
            |name: &str, arm: &Arm| ArmCaption { name: format!("{name}: trial {}", arm.trial), recorded: arm.recorded };
        let captions = vec![caption("baseline", &baseline), caption("candidate", &candidate)];
        let title = format!("{}: trial {} against trial {}", study.name, self.candidate, self.baseline);
        let mut display = RerunDisplay::new(context, output, title, &objective, captions, self.options.repeats);
        let (reruns, is_interrupted) = match rerunner.run(&[&baseline, &candidate], &mut display, output, interrupt) {
            Ok(done) => done,
            Err(error) => {
                display.fail(&error);
                return Err(error);
            }
        };
        let [of_baseline, of_candidate] = &reruns[..] else { return Ok(()) };
        let longer = if of_candidate.trials.len() > of_baseline.trials.len() { of_candidate } else { of_baseline };
        let of_trial = |option: &str, number| trial_of(&self.arguments, option, &self.study, &trials, number);
        let both = [of_trial("candidate", self.candidate)?, of_trial("baseline", self.baseline)?];
        let repeats = repeats(&context.store()?, &study, &objective, both)?;
        let found = adoption(&of_candidate.trials, &of_baseline.trials, &objective).with(repeats.found.clone());
        let runs = of_candidate.trials.iter().chain(&of_baseline.trials);
        let precision = validation(runs, &objective, found.baseline_runs.mean, found.difference);
        let mut report = Report::new("adoption", &found)
            .field("study", &study.name)
            .field("candidate", self.candidate)
            .field("baseline", self.baseline)
            .field("repeats", self.options.repeats)
            .field("candidate_recorded", candidate.recorded)
            .field("baseline_recorded", baseline.recorded)
            .field("runs_studies", [&candidate.study, &baseline.study])
            .field("run_seeds", seeds_of(&self.options, &longer.trials))
            .field("repeats_of_study", &repeats.names)
            .field("validation", precision.as_ref().map(|(precision, _)| precision));
        if is_interrupted {
            report = report.line("Interrupted; the same line continues.");
        } else if !of_baseline.trained && !of_candidate.trained {
            report = report.line("Nothing was trained: all requested runs are recorded.");
        }
        let arms = [(&candidate, of_candidate), (&baseline, of_baseline)];
        for sentence in sentences(&found, &study.definition.workload, arms) {
            report = report.line(&sentence);
        }
        if let Some((_, sentence)) = &precision {
            report = report.line(sentence);
        }
        if let Some((sentence, cell)) = repeats.sentence(&found, &objective.metric) {
            report = report.line(&sentence);
            report = cell.iter().fold(report, |report, cell| report.code(cell));
        }
        let unread = store.without_effect(&study)?;
        if let Some(note) = crate::commands::sweep::without_effect(&unread) {
            report = report.line(&note);
        }
        if let Some(note) = changes::note(&changes::changes(&store, &study)?) {
            report = report.line(&note);
        }
        report = report.table(&rows(&found, candidate.recorded, baseline.recorded));
        if !is_interrupted {
            let inputs = json!([self.candidate, self.baseline, self.options.repeats, objective]).to_string();
            context.store()?.keep_result(&study, "adoption", &inputs, &report.result())?;
        }
        let report = display.end(report, &[&of_baseline.trials, &of_candidate.trials]);
        if !is_interrupted {
            context.keep_shown(self.arguments.source.text(), &study.name, &report)?;
        }
        if is_interrupted {
            return Err(interrupted("%adopt"));
        }
        for (option, runs, reruns) in
            [("candidate", &found.candidate_runs, of_candidate), ("baseline", &found.baseline_runs, of_baseline)]
        {
            if runs.values.is_empty() {
                return Err(no_run(&rerunner, option, reruns));
            }
        }
        Ok(())
    }
}

fn rows(found: &Adoption, candidate: f64, baseline: f64) -> Rows {
    let mean = format!("mean {}", found.metric);
    let mut rows = Rows::new(&[
        "configuration",
        "recorded by the study",
        "new runs",
        "infeasible",
        &mean,
        "95 %",
        "standard deviation",
    ]);
    let mut row = |name: &str, recorded: f64, runs: &Runs| {
        rows.row(vec![
            name.into(),
            number(recorded),
            runs.values.len().to_string(),
            runs.infeasible.len().to_string(),
            number_or_dash(runs.mean),
            interval_or_dash(runs.mean_interval),
            number_or_dash(runs.standard_deviation),
        ]);
    };
    row("candidate", candidate, &found.candidate_runs);
    row("baseline", baseline, &found.baseline_runs);
    rows
}
