//! No sentence states more than its level: each template of a message in the sources that makes a claim about the
//! user's trainings has a number, an interval or a count in it or directly before it, and none claims what no study
//! can show.
//!
//! A template is any string of the crates that draw conclusions and show them. What the Playbook advises, help, and
//! errors are no claims. So a new template is checked as soon as it is written.

use ra_ap_syntax::ast::{self, AstNode, HasName};
use ra_ap_syntax::{Edition, SourceFile, SyntaxKind, SyntaxNode, SyntaxToken};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where templates are.
const FOLDERS: [&str; 6] = [
    "magics/analysis/src",
    "magics/charts/src",
    "magics/commands/src/commands",
    "magics/commands/src/probing",
    "magics/commands/src/report",
    "magics/commands/src/studies",
];
/// Words that make a claim about trainings.
const CLAIMS: [&str; 55] = [
    "better",
    "worse",
    "faster",
    "slower",
    "matters",
    "matter",
    "depends",
    "depend",
    "saturates",
    "saturated",
    "stable",
    "unstable",
    "improves",
    "improve",
    "improved",
    "improving",
    "diverges",
    "diverge",
    "diverged",
    "limits",
    "limited",
    "limit",
    "explains",
    "explain",
    "differs",
    "differ",
    "different",
    "helps",
    "help",
    "gain",
    "gains",
    "pays",
    "overfit",
    "overfits",
    "rises",
    "rise",
    "rose",
    "falls",
    "fall",
    "chance",
    "likely",
    "unlikely",
    "probably",
    "sure",
    "supported",
    "trusted",
    "unreliable",
    "optimal",
    "sparse",
    "enough",
    "aggressive",
    "bottleneck",
    "advise",
    "advises",
    "noisy",
];
/// Words that claim a comparison if they stand in a whole sentence. In a label they only name something.
const SUPERLATIVES: [&str; 8] = ["best", "worst", "larger", "smaller", "largest", "smallest", "fastest", "cheapest"];
/// Words that claim more than a study can show.
const TOO_MUCH: [&str; 11] = [
    "clearly",
    "significant",
    "significantly",
    "always",
    "never",
    "proves",
    "prove",
    "proven",
    "certainly",
    "guaranteed",
    "obviously",
];
/// Sentences that make no claim about trainings although they have such a word, by their beginning, with the reason.
const NO_CLAIMS: [(&str, &str); 14] = [
    ("The model may hold regularization", "says what may be"),
    ("matters for the best", "the head of a column of numbers"),
    ("what matters for the best tenth", "the name of a series"),
    ("was tried and helps", "a cell of a table below the sentence with the interval of the gain"),
    ("was tried and does not help", "the same"),
    ("no length was stable at ten times the edge", "the same, below the sentence about warm-up"),
    ("Gradient norms are not known", "says what is missing"),
    ("An infeasible run counts as worse", "says how runs are counted"),
    ("The time limit of `--budget`", "says why the study ended"),
    ("a quote in this value is never closed", "an error in what was written"),
    ("infeasible run, worse than all", "the name of a series"),
    ("worse trials, at the rim", "the name of a series"),
    ("no better than untrained", "the name of a series"),
    ("G2 Never tune max_train_steps", "a title of the Playbook"),
];
/// A string with fewer words is the name of something.
const LEAST_WORDS: usize = 4;

/// A string in the sources, without what a backslash at the end of a line continues.
struct Template {
    place: String,
    text: String,
}

fn templates(root: &Path) -> Vec<Template> {
    let mut found = vec![];
    let mut open: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).expect("a Rust file");
            let name = path.strip_prefix(root).expect("a path below the root").display().to_string();
            found.extend(
                templates_of(&text).into_iter().map(|(line, text)| Template { place: format!("{name}:{line}"), text }),
            );
        }
    }
    found
}

/// The strings of a file that may claim something, with their lines.
fn templates_of(source: &str) -> Vec<(usize, String)> {
    let tree = SourceFile::parse(source, Edition::Edition2024).tree();
    let tokens = tree.syntax().descendants_with_tokens().filter_map(|element| element.into_token());
    tokens
        .filter(|token| token.kind() == SyntaxKind::STRING && !is_exempt(token))
        .map(|token| {
            let start: usize = token.text_range().start().into();
            (1 + source[..start].matches('\n').count(), joined(token.text()))
        })
        .collect()
}

/// Whether a string is advice, help, an error, an attribute, or part of a test.
fn is_exempt(token: &SyntaxToken) -> bool {
    token.parent_ancestors().any(|node| match node.kind() {
        SyntaxKind::CONST | SyntaxKind::ATTR => true,
        SyntaxKind::MODULE => node.children().any(|child| child.text() == "#[cfg(test)]"),
        SyntaxKind::LET_STMT => ast::LetStmt::cast(node.clone())
            .and_then(|it| it.pat())
            .is_some_and(|pat| pat.to_string().ends_with("advice")),
        SyntaxKind::BIN_EXPR => node.first_child().is_some_and(|left| left.text() == "advice"),
        SyntaxKind::RECORD_EXPR_FIELD => node.first_child().is_some_and(|name| name.text() == "advice"),
        SyntaxKind::CALL_EXPR | SyntaxKind::METHOD_CALL_EXPR => is_error(&node),
        SyntaxKind::FN => {
            ast::Fn::cast(node.clone()).and_then(|it| it.name()).is_some_and(|name| name.text() == "help")
        }
        _ => false,
    })
}

/// Whether a call makes an error, which speaks of what the user wrote.
fn is_error(call: &SyntaxNode) -> bool {
    let callee = match ast::MethodCallExpr::cast(call.clone()) {
        Some(method) => method.name_ref().map(|name| name.text().to_string()),
        None => call.first_child().map(|callee| callee.text().to_string()),
    };
    callee.is_some_and(|name| name.contains("error") || name.contains("Error") || name == "bad" || name == "with_help")
}

/// The text of a string literal, with its continued lines joined.
fn joined(literal: &str) -> String {
    let mut parts = literal.trim_matches(|c| "r#\"".contains(c)).split("\\\n");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |text, part| text + part.trim_start())
}

fn words(sentence: &str) -> Vec<String> {
    let lower = sentence.to_lowercase();
    let (mut depth, mut in_code, mut plain) = (0, false, String::new());
    for c in lower.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            '`' => in_code = !in_code,
            _ if depth == 0 && !in_code => plain.push(c),
            _ => {}
        }
    }
    let words = plain.split(|c: char| !c.is_alphabetic() && c != '_' && c != '-');
    words.filter(|word| !word.is_empty()).map(String::from).collect()
}

/// The mistakes of a template: a claim without evidence, or one that is too strong.
fn mistakes(text: &str, used: &mut BTreeSet<&'static str>) -> Vec<String> {
    let mut found = vec![];
    let mut has_evidence_before = false;
    for sentence in text.split_inclusive(". ").flat_map(|part| part.split_inclusive("\\n")) {
        let words = words(sentence);
        let has = |list: &[&str]| words.iter().find(|word| list.contains(&word.as_str())).cloned();
        let has_evidence = sentence.contains(['{', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
        let is_evident = has_evidence || has_evidence_before;
        has_evidence_before = has_evidence;
        if words.len() < LEAST_WORDS {
            continue;
        }
        if let Some(listed) = NO_CLAIMS.iter().find(|(beginning, _)| sentence.trim_start().starts_with(beginning)) {
            used.insert(listed.0);
            continue;
        }
        if let Some(word) = has(&TOO_MUCH) {
            found.push(format!("`{word}` claims too much: {sentence}"));
        }
        let is_whole = sentence.trim_end().ends_with(['.', '!']);
        let claim = has(&CLAIMS).or_else(|| has(&SUPERLATIVES).filter(|_| is_whole));
        if let Some(word) = claim.filter(|_| !is_evident) {
            found.push(format!("nothing stands behind `{word}`: {sentence}"));
        }
    }
    found
}

#[test]
fn each_claim_of_a_template_has_a_number_and_none_claims_too_much() {
    let templates = templates(&tunebook_tests::repository());
    let (mut used, mut wrong) = (BTreeSet::new(), vec![]);
    for Template { place, text } in &templates {
        wrong.extend(mistakes(text, &mut used).into_iter().map(|mistake| format!("{place}: {mistake}")));
    }
    assert!(templates.len() > 1000, "only {} templates were found", templates.len());
    assert!(wrong.is_empty(), "{} sentences:\n{}", wrong.len(), wrong.join("\n"));
    let stale: Vec<&str> = NO_CLAIMS.iter().map(|(beginning, _)| *beginning).filter(|b| !used.contains(b)).collect();
    assert!(stale.is_empty(), "no template begins so: {stale:?}");
}

#[test]
fn a_claim_without_evidence_is_noticed() {
    let source = r#"
        const HELP: &str = "This magic says which arm is better than the others.";
        fn f() {
            let advice = "Take the larger one of the two.";
            g("The first arm is better than \
               the second one.");
            g(&format!("{a} of {b} are better. So the arm is really better than others."));
            g("With 5 seeds this is significantly better.");
            g("the best of all arms");
        }
        #[cfg(test)]
        mod tests { fn h() { g("This arm is always better than others."); } }
    "#;
    let found: Vec<(usize, String)> = templates_of(source);
    let all: Vec<String> = found.iter().flat_map(|(_, text)| mistakes(text, &mut BTreeSet::new())).collect();
    assert_eq!(
        all,
        [
            "nothing stands behind `better`: The first arm is better than the second one.",
            "`significantly` claims too much: With 5 seeds this is significantly better.",
        ]
    );
}
