//! The findings of a study at a glance, and its plan without what it says of a run to come.

use super::markdown::unescaped;
use super::parts::Part;
use crate::host::{Bundle, RESULT_MIME};
use crate::report::{PARAGRAPH, paragraph};
use serde_json::{Value as Json, json};

/// Paragraphs of `%%plan` about a run to come: how each begins, and what it contains.
const TO_COME: [(&str, &str); 8] = [
    ("The study is recorded", ""),
    ("The sweep would not run", ""),
    ("No trial is to be run", ""),
    ("With ", " at a time "),
    ("The time is not known", ""),
    ("At ", " for one device "),
    ("The cost is not known", ""),
    ("`--allow NAME`", ""),
];

/// What `%%plan` shows, as the plan of a study that ran.
pub fn planned(mut bundle: Bundle) -> Bundle {
    let field = |name: &str| bundle.get(name).and_then(Json::as_str).unwrap_or_default().to_string();
    let (mut page, mut text) = (field("text/html"), field("text/plain") + "\n");
    for line in lines(&page) {
        let [old_text, old_page] = paragraph(&line);
        let [new_text, new_page] = of_record(&line).map_or_else(Default::default, |line| paragraph(&line));
        text = text.replacen(&old_text, &new_text, 1);
        page = page.replacen(&old_page, &new_page, 1);
    }
    bundle.insert("text/html".into(), json!(page));
    bundle.insert("text/plain".into(), json!(text.trim_end()));
    bundle
}

/// A paragraph of a plan after its study has run. None if nothing is left of it.
fn of_record(line: &str) -> Option<String> {
    let is_to_come = TO_COME.iter().any(|(start, part)| line.starts_with(start) && line.contains(part));
    let line = line.strip_suffix(" Nothing was trained.").unwrap_or(line);
    let line = line.replace("Trials would be stopped early", "Trials were stopped early");
    (!is_to_come).then(|| line.replace("; the expected time is that without it", ""))
}

/// The paragraphs of what a magic shows.
fn lines(page: &str) -> Vec<String> {
    let contents = page.split(PARAGRAPH).skip(1).filter_map(|part| part.split_once("</p>"));
    contents.map(|(content, _)| unescaped(&content.replace("<code>", "`").replace("</code>", "`"))).collect()
}

/// The findings in what magics show: the verdicts with their level, and what `%insight` found. Empty if there are none.
pub fn summary(parts: &[Part]) -> Vec<Part> {
    let mut found: Vec<String> = vec![];
    for part in parts {
        let Part::Shown { magic, bundle } = part else { continue };
        let magic = magic.lines().next().unwrap_or_default();
        let page = bundle.get("text/html").and_then(Json::as_str).unwrap_or_default();
        // A line that ends in a colon announces a cell, which is not part of the summary.
        let is_verdict = |line: &String| line.starts_with("Level L") && !line.ends_with(':');
        let verdicts = lines(page).into_iter().filter(is_verdict);
        found.extend(verdicts.map(|line| format!("`{magic}`: {line}")));
        let result = bundle.get(RESULT_MIME).filter(|result| result["kind"] == "insight");
        for finding in result.and_then(|result| result["findings"].as_array()).into_iter().flatten() {
            let [id, severity, message] =
                ["id", "severity", "message"].map(|field| finding[field].as_str().unwrap_or_default());
            found.push(format!("{id} ({severity}): {message}"));
        }
    }
    if found.is_empty() {
        return vec![];
    }
    [Part::Heading(3, "Summary".into())].into_iter().chain(found.into_iter().map(Part::Text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;

    #[test]
    fn a_plan_of_the_past_has_no_sentences_about_a_run_to_come() {
        let report = Report::new("plan", &json!({}))
            .line("a: 3 configurations of `w`, minimize <loss>. Nothing was trained.")
            .line("The study is recorded with all of these trials, so the sweep would train nothing.")
            .line("With 2 trials at a time this takes about 3 s (2 s to 4 s), as 3 recorded trials took.")
            .line("Trials would be stopped early by the rule `median`; the expected time is that without it.")
            .line("No trial is to be run, so this costs nothing.");
        let bundle = planned(report.bundle());
        let expected = "a: 3 configurations of `w`, minimize <loss>.\nTrials were stopped early by the rule `median`.";
        assert_eq!(bundle["text/plain"], expected);
        assert_eq!(lines(bundle["text/html"].as_str().unwrap()).join("\n"), expected);
    }

    #[test]
    fn the_summary_has_each_finding_with_its_level() {
        let shown = |magic: &str, report: Report| Part::Shown { magic: magic.into(), bundle: report.bundle() };
        let adoption = Report::new("adoption", &json!({})).line("Difference: 1.").line("Level L2. Adopt trial 3.");
        let adoption = adoption.line("Level L3 needs a repeat of the study that gives the same order:");
        let finding = json!({ "id": "boundary", "severity": "warning", "message": "`lr` is at its end." });
        let insight = Report::new("insight", &json!({ "findings": [finding] })).line("Read this.");
        let parts = [shown("%adopt a", adoption), Part::Text("Level L9".into()), shown("%insight a", insight)];
        let found = summary(&parts);
        let texts: Vec<&str> = found
            .iter()
            .filter_map(|part| match part {
                Part::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(texts, ["`%adopt a`: Level L2. Adopt trial 3.", "boundary (warning): `lr` is at its end."]);
        assert!(summary(&parts[1..2]).is_empty());
    }
}
