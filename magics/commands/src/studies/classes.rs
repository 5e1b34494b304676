//! The table of what a model gets right in each class (Playbook H9).

use crate::report::Report;
use crate::report::table::Rows;
use serde::Deserialize;
use std::path::Path;
use tunebook_study::ClassCount;

/// In a class with fewer examples, a single one is more than 5 points of its rate.
const FEW: u64 = 20;
/// So many classes are shown.
const SHOWN: usize = 30;

/// What the best checkpoint of a trial gets right.
#[derive(Deserialize)]
pub struct ClassesAtBest {
    pub step: u64,
    pub classes: Vec<ClassCount>,
}

/// Reads the counts from the folder of a trial. None if there are none, as for a program or a regression.
pub fn classes_at_best(folder: &Path) -> Option<ClassesAtBest> {
    serde_json::from_slice(&std::fs::read(folder.join("classes.json")).ok()?).ok()
}

/// Adds the table of the classes, and a sentence about those with few examples. `examples` names the examples.
pub fn with_classes(mut report: Report, examples: &str, classes: &[ClassCount]) -> Report {
    if classes.is_empty() {
        return report;
    }
    report = report.line(&format!("What the best checkpoint gets right on {examples}, by class:"));
    let mut rows = Rows::new(&["class", "examples", "correct", "rate"]);
    let mut shown: Vec<&ClassCount> = classes.iter().collect();
    if shown.len() > SHOWN {
        shown.sort_by_key(|class| class.examples);
    }
    for class in shown {
        let few = if (1..FEW).contains(&class.examples) { " (few)" } else { "" };
        rows.row(vec![
            class.class.clone(),
            format!("{}{few}", class.examples),
            class.correct.to_string(),
            match class.examples {
                0 => "–".into(),
                n => format!("{:.1} %", 100.0 * class.correct as f64 / n as f64),
            },
        ]);
    }
    report = report.first_rows(rows, SHOWN, "classes, those with the fewest examples first");
    let rare: Vec<&ClassCount> = classes.iter().filter(|class| (1..FEW).contains(&class.examples)).collect();
    if let Some(rarest) = rare.iter().min_by_key(|class| class.examples) {
        report = report.line(&format!(
            "{} of the {} classes have fewer than {FEW} examples. In class {}, one of the {} examples is {:.1} points of \
             the rate: compare the counts (Playbook H9).",
            rare.len(),
            classes.len(),
            rarest.class,
            rarest.examples,
            100.0 / rarest.examples as f64
        ));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::RESULT_MIME;

    #[test]
    fn a_class_of_few_examples_is_marked_and_the_weight_of_one_example_is_said() {
        let class = |class: &str, examples, correct| ClassCount { class: class.into(), examples, correct };
        let all = [class("common", 200, 190), class("rare", 8, 5), class("absent", 0, 0)];
        let report = with_classes(Report::new("final", &serde_json::json!({})), "the test examples", &all);
        let text = report.bundle()["text/plain"].as_str().unwrap().to_string();
        assert!(text.contains("8 (few)") && text.contains("62.5 %") && text.contains("95.0 %"), "{text}");
        assert!(text.contains("1 of the 3 classes") && text.contains("12.5 points"), "{text}");
        let plain = with_classes(Report::new("final", &serde_json::json!({})), "x", &[]).bundle();
        assert!(plain[RESULT_MIME].is_object() && !plain["text/plain"].as_str().unwrap_or_default().contains("class"));
    }
}
