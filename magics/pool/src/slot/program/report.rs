//! Finds measurements in what a program prints, and remembers what nearly was one.

use super::literal::{self, Broken, Literal, Object};
use indexmap::IndexMap;
use tunebook_study::Measurement;

/// At most so many braces of a line are tried.
const BRACES: usize = 32;
/// An object may go on for so many lines.
const LINES: usize = 500;

/// Reads the lines of a program.
pub(super) struct Report {
    objective: String,
    /// Lines that begin an object which further lines may complete.
    held: Vec<String>,
    /// Where that object begins in the first of them.
    brace: usize,
    /// What was not understood.
    pub misread: Misread,
}

/// What lines mean.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Taken {
    pub measurements: Vec<Measurement>,
    /// The lines that are log.
    pub log: Vec<String>,
}

/// Lines of one kind: how many, and the first one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lines {
    pub count: usize,
    pub first: String,
}

/// Lines that look like measurements and are none, and lines that are without the objective.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Misread {
    /// Without a `step`, and the names that they have instead.
    pub no_step: Lines,
    pub names: Vec<String>,
    /// With a `step` that is no whole number from 0 to 9e15.
    pub bad_step: Lines,
    /// Of these two kinds, those that have a `step` or the objective.
    pub unrecorded: Lines,
    /// With an objective that is no number.
    pub no_number: Lines,
    /// Not complete.
    pub broken: Lines,
    /// Measurements on standard error.
    pub on_stderr: Lines,
    /// The metrics that were reported.
    pub metrics: Vec<String>,
    /// A line of prose, if possible one with a number.
    pub prose: String,
}

impl Lines {
    pub(super) fn add(&mut self, line: &str) {
        self.count += 1;
        if self.count == 1 {
            self.first = line.trim().into();
        }
    }
}

impl Report {
    pub(super) fn new(objective: &str) -> Self {
        Self { objective: objective.into(), held: vec![], brace: 0, misread: Misread::default() }
    }

    /// Reads a line of standard output.
    pub(super) fn take(&mut self, line: &str) -> Taken {
        let mut taken = Taken::default();
        self.read(line, &mut taken);
        taken
    }

    /// Reads what is held at the end of the output.
    pub(super) fn end(&mut self) -> Taken {
        let mut taken = Taken::default();
        for line in std::mem::take(&mut self.held) {
            self.misread_line(&line);
            taken.log.push(line);
        }
        taken
    }

    fn read(&mut self, line: &str, taken: &mut Taken) {
        if self.held.is_empty() {
            return self.read_first(line, taken);
        }
        let lines: Vec<String> = self.held.iter().map(String::as_str).chain([line]).map(without_escapes).collect();
        let text = lines.join("\n");
        match literal::object(&text[self.brace.min(text.len())..]) {
            Ok((object, _)) => {
                let held = std::mem::take(&mut self.held);
                match self.measurement(&object) {
                    Some(measurement) => taken.measurements.push(measurement),
                    None => {
                        self.misread_line(&text);
                        taken.log.extend(held.into_iter().chain([line.to_string()]));
                    }
                }
            }
            Err(Broken::Ends) if self.held.len() < LINES => self.held.push(line.into()),
            // The lines do not belong together. The first one is log, and the others are read again.
            Err(_) => {
                let mut held = std::mem::take(&mut self.held).into_iter();
                if let Some(first) = held.next() {
                    self.misread_line(&first);
                    taken.log.push(first);
                }
                for line in held.chain([line.to_string()]) {
                    self.read(&line, taken);
                }
            }
        }
    }

    fn read_first(&mut self, line: &str, taken: &mut Taken) {
        let text = without_escapes(line);
        let (found, open) = self.find(&text);
        if !found.is_empty() {
            taken.measurements.extend(found);
        } else if let Some(brace) = open {
            (self.held, self.brace) = (vec![line.into()], brace);
        } else {
            self.misread_line(line);
            taken.log.push(line.into());
        }
    }

    /// The measurements in a text: objects with a `step`, whatever stands before and behind them. Also where an object
    /// begins that the text does not complete.
    fn find(&mut self, text: &str) -> (Vec<Measurement>, Option<usize>) {
        let (mut found, mut at) = (vec![], 0);
        for _ in 0..BRACES {
            let Some(brace) = text[at..].find('{') else { break };
            at += brace;
            match literal::object(&text[at..]) {
                Ok((object, length)) => {
                    found.extend(self.measurement(&object));
                    at += length;
                }
                Err(Broken::Ends) => return (found, Some(at)),
                Err(Broken::Here) => at += 1,
            }
        }
        (found, None)
    }

    /// The measurement that an object is, if it has a whole number `step`. Every other number in it is a metric.
    fn measurement(&mut self, object: &Object) -> Option<Measurement> {
        let (_, step) = object.iter().find(|(name, _)| name == "step")?;
        let step = match step {
            Literal::Number(number) => *number,
            Literal::Text(text) => literal::number(text).flatten(),
            _ => None,
        };
        let Some(step) = step.filter(|step| *step >= 0.0 && step.fract() == 0.0 && *step < 9.0e15) else {
            self.misread.bad_step.add(&shown(object));
            self.misread.unrecorded.add(&shown(object));
            return None;
        };
        let step = step as u64;
        let mut metrics = IndexMap::new();
        let mut no_number = None;
        visit("", object, &mut |name, value| match value {
            _ if name == "step" => {}
            Literal::Number(number) => drop(metrics.insert(name.to_string(), *number)),
            Literal::Text(text) if let Some(number) = literal::number(text) => {
                metrics.insert(name.to_string(), number);
            }
            _ if name == self.objective => no_number = Some(format!("{value:?}")),
            _ => {}
        });
        if no_number.is_some() {
            self.misread.no_number.add(&shown(object));
        }
        for name in metrics.keys() {
            if !self.misread.metrics.contains(name) && self.misread.metrics.len() < 20 {
                self.misread.metrics.push(name.clone());
            }
        }
        Some(Measurement { step, seconds: 0.0, metrics })
    }

    /// Remembers a line that is log, if it looks like a measurement, and otherwise as an example of the log.
    fn misread_line(&mut self, line: &str) {
        let line = without_escapes(line);
        let line = line.trim();
        let objective = self.objective.to_lowercase();
        let last_part = objective.rsplit('/').next().unwrap_or(&objective).to_string();
        let looks_right = |name: &str| {
            let lower = name.to_lowercase();
            is_step(name) || lower == objective || lower == last_part
        };
        let objects = line.match_indices('{').take(BRACES).find_map(|(at, _)| literal::object(&line[at..]).ok());
        if let Some((object, _)) = objects {
            let mut names = vec![];
            visit("", &object, &mut |name, _| names.push(name.to_string()));
            let has_step = object.iter().any(|(name, _)| name == "step");
            if !has_step && names.iter().any(|name| looks_right(name)) {
                self.misread.no_step.add(line);
                if names.iter().any(|name| name.ends_with("/step") || *name == self.objective) {
                    self.misread.unrecorded.add(line);
                }
                if names.iter().any(|name| is_step(name)) {
                    names.retain(|name| is_step(name));
                }
                names.retain(|name| !self.misread.names.contains(name));
                self.misread.names.extend(names);
                self.misread.names.truncate(4);
            }
            return;
        }
        let lower = line.to_lowercase();
        if line.contains('{') && lower.contains("step") && (lower.contains(&last_part) || lower.contains(':')) {
            self.misread.broken.add(line);
        } else if !line.is_empty() {
            let has_digit = |line: &str| line.contains(|c: char| c.is_ascii_digit());
            if has_digit(line) || !has_digit(&self.misread.prose) {
                self.misread.prose = line.into();
            }
        }
    }
}

/// Names that programs give to the step.
const STEPS: [&str; 14] = [
    "step",
    "it",
    "n_iter",
    "steps",
    "global_step",
    "epoch",
    "epochs",
    "iter",
    "iters",
    "iteration",
    "iterations",
    "batch",
    "update",
    "round",
];

fn is_step(name: &str) -> bool {
    let name = name.to_lowercase();
    STEPS.contains(&name.rsplit('/').next().unwrap_or("").trim_start_matches('_'))
}

/// Whether a line of standard error is a measurement.
pub(super) fn is_measurement(line: &str) -> bool {
    !Report::new("").take(line).measurements.is_empty()
}

/// Visits the fields of an object, those of objects inside it with names like `valid/error`.
fn visit(prefix: &str, object: &Object, seen: &mut dyn FnMut(&str, &Literal)) {
    for (name, value) in object {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        match value {
            Literal::Object(inner) => visit(&name, inner, seen),
            value => seen(&name, value),
        }
    }
}

/// An object as a line of text.
fn shown(object: &Object) -> String {
    let mut fields = vec![];
    visit("", object, &mut |name, value| {
        fields.push(match value {
            Literal::Number(Some(number)) => format!("\"{name}\": {number}"),
            Literal::Number(None) => format!("\"{name}\": NaN"),
            Literal::Text(text) => format!("\"{name}\": \"{text}\""),
            Literal::Other(text) => format!("\"{name}\": {text}"),
            Literal::Object(_) => format!("\"{name}\": {{…}}"),
        });
    });
    format!("{{{}}}", fields.join(", "))
}

/// A text without the escape sequences of terminals, such as colours.
fn without_escapes(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('\u{1b}') {
        plain += &rest[..at];
        rest = &rest[at + 1..];
        rest = match rest.strip_prefix('[') {
            // A control sequence ends with a letter or another character from @ to ~.
            Some(sequence) => {
                let end = sequence.find(|c: char| ('@'..='~').contains(&c));
                end.map_or("", |end| &sequence[end + 1..])
            }
            None => rest.get(1..).unwrap_or(""),
        };
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The measurements of lines, as step and value of `e`.
    fn read(lines: &[&str]) -> Vec<(u64, Option<f64>)> {
        let mut report = Report::new("e");
        let mut found = vec![];
        for line in lines {
            found.extend(report.take(line).measurements);
        }
        found.extend(report.end().measurements);
        found.iter().map(|m| (m.step, m.metrics.get("e").copied().flatten())).collect()
    }

    #[test]
    fn what_is_unambiguous_is_a_measurement() {
        for lines in [
            &[r#"{"step": 1, "e": 0.5}"#][..],
            &["{'step': 1, 'e': .5}"],
            &[r#"{"step": "1", "e": "0.5"}"#],
            &[r#"{"step": 1.0, "e": 5e-1, "note": "}"}"#],
            &[r#"2024-01-01 12:00:00 INFO [train] {"step": 1, "e": 0.5} done"#],
            &["\u{1b}[2K\r\u{1b}[32m{\"step\": 1, \"e\": 0.5}\u{1b}[0m"],
            &["{", "  \"step\": 1,", "  \"e\": 0.5", "}"],
            &["Metrics { step: 1, e: 0.5 }"],
            &["{'step': 1, 'e': np.float64(0.5), 'confusion': [[1, 2], [3, 4]]}"],
            &["config {lr: 0.1} {\"step\": 1, \"e\": 0.5}"],
            &["{\"step\": 1, \"e\"", "{\"step\": 1, \"e\": 0.5}"],
            &["for {", "{\"step\": 1, \"e\": 0.5}"],
            &["{", "for {", "INFO {", "'step': 1, 'e': 0.5}"],
        ] {
            assert_eq!(read(lines), [(1, Some(0.5))], "{lines:?}");
        }
        assert_eq!(read(&[r#"{"step": 1, "e": 1}{"step": 2, "e": 2}"#]), [(1, Some(1.0)), (2, Some(2.0))]);
        for token in
            ["NaN", "nan", "-inf", "Inf", "Infinity", "-Infinity", "nan(0x7ff8000000000000)", "\"nan\"", "1e999"]
        {
            let mut report = Report::new("e");
            let taken = report.take(&format!("{{\"step\": 3, \"e\": {token}}}"));
            assert_eq!(taken.measurements[0].metrics["e"], None, "{token}");
        }
        let nested = Report::new("valid/error").take(r#"{"step": 1, "valid": {"error": 0.5}}"#);
        assert_eq!(nested.measurements[0].metrics["valid/error"], Some(0.5));
    }

    #[test]
    fn everything_else_is_log() {
        for log in ["hello", "{}", r#"{"step": "a"}"#, r#"{"step": 1.5}"#, r#"{"step": -1}"#, r#"{"step": 1"#, "[1]"] {
            let mut report = Report::new("e");
            let mut taken = report.take(log);
            taken.log.extend(report.end().log);
            assert_eq!(taken, Taken { measurements: vec![], log: vec![log.into()] }, "{log}");
        }
        assert!(is_measurement(r#"INFO:root:{"step": 1, "e": 0.5}"#) && !is_measurement("step 1"));
    }

    #[test]
    fn what_nearly_is_a_measurement_is_remembered() {
        let misread = |lines: &[&str]| {
            let mut report = Report::new("valid/error");
            lines.iter().for_each(|line| drop(report.take(line)));
            report.end();
            report.misread
        };
        let epochs = misread(&["{'epoch': 1, 'valid/error': .5}", "{'epoch': 2, 'valid/error': .5}", "{'lr': 1}"]);
        assert_eq!((epochs.no_step.count, epochs.names), (2, vec!["epoch".to_string()]));
        for step in ["\"one\"", "\"2.5\"", "2.5", "-1", "1e16", "null", "{\"at\": 1}"] {
            let found =
                misread(&[format!("{{\"step\": {step}, \"e\": 1}}").as_str(), r#"{"step": 3.0, "valid/error": 1}"#]);
            assert_eq!((found.bad_step.count, found.unrecorded.count), (1, 1), "{step}");
        }
        let both =
            misread(&[r#"{"step": 1.5, "e": 1} {"step": 2, "e": 1}"#, r#"{"valid": {"error": 1}}"#, "{'epoch': 1}"]);
        assert_eq!((both.bad_step.count, both.no_step.count, both.unrecorded.count), (1, 2, 2));
        assert_eq!(misread(&[r#"{"report": {"step": 1, "e": 1}}"#]).unrecorded.count, 1);
        assert_eq!(misread(&[r#"{"step": 1, "valid/error": null}"#]).no_number.count, 1);
        assert_eq!(misread(&[r#"{"step": 1, "valid/error": 0.5"#]).broken.count, 1);
        assert_eq!(misread(&[r#"{"step": 1, "Valid/Error": 0.5}"#]).metrics, ["Valid/Error"]);
        assert_eq!(misread(&["loading", "epoch 1: loss 0.5", "done"]).prose, "epoch 1: loss 0.5");
    }
}
