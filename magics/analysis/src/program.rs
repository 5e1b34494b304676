//! The command of a program: which program it starts, and the options to which it gives one value in all trials.

use crate::usual_names::{Kind, is_same_name, kind};
use std::borrow::Cow;
use tunebook_study::{
    Distribution, Hyperparameter, ProgramLine, Role, SearchSpace, StudyDefinition, Value, WorkloadReference,
};

/// Programs that run a script: the first word behind their options, or what follows `-c`.
const INTERPRETERS: [&str; 9] = ["python", "pypy", "sh", "bash", "julia", "Rscript", "perl", "ruby", "node"];
/// How the names of programs end that others start, such as `torchrun`.
const SCRIPTS: [&str; 8] = ["py", "sh", "jl", "R", "pl", "rb", "js", "ts"];
/// How the names of other files end that stand behind an option.
const FILES: [&str; 14] =
    ["yaml", "yml", "json", "toml", "ini", "cfg", "conf", "gin", "txt", "csv", "pt", "pth", "ckpt", "pkl"];
/// Options behind which settings `name=value` stand. What stands behind another option may be a name or a path.
const BEFORE_SETTINGS: [&str; 8] =
    ["-m", "--multirun", "--set", "--override", "--overrides", "--opts", "--options", "--cfg-options"];

/// Whether two workloads are those of one project: the same workload, or one program with any options.
pub fn is_same_project(a: &WorkloadReference, b: &WorkloadReference) -> bool {
    match (a, b) {
        (WorkloadReference::Command(a), WorkloadReference::Command(b)) => program(&a.words) == program(&b.words),
        _ => a.is_same_workload(b),
    }
}

/// The words of a command that say which program it starts: those before the first option, setting (`name=value`) or
/// placeholder. After an interpreter, the options before the script are not the script's, and `-c` is followed by the
/// script itself. What another program starts, such as `torchrun`, is the first script among the other words.
fn program(words: &[String]) -> Vec<&str> {
    let mut words = words.iter().map(String::as_str);
    let Some(first) = words.next() else { return vec![] };
    let stem = first.rsplit('/').next().unwrap_or(first).trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let (mut found, mut is_before_script) = (vec![first], INTERPRETERS.contains(&stem));
    let is_value = |word: &str| word.starts_with('-') || word.contains('{') || setting(word).is_some();
    let is_script =
        |word: &str| !is_value(word) && word.rsplit_once('.').is_some_and(|(_, end)| SCRIPTS.contains(&end));
    for word in words.by_ref() {
        if is_before_script && word.starts_with('-') {
            found.push(word);
            continue;
        }
        let is_c = |option: &str| option.starts_with('-') && !option.starts_with("--") && option.ends_with('c');
        let is_inline = is_before_script && found.last().is_some_and(|last| is_c(last));
        if !is_inline && is_value(word) {
            break;
        }
        is_before_script = false;
        found.push(word);
        if is_inline {
            return found;
        }
    }
    if !found.iter().any(|word| is_script(word)) {
        found.extend(words.find(|word| is_script(word)));
    }
    found
}

/// The name and the value of a word `name=value`, as programs with Hydra read it. A path with `=` is none.
fn setting(word: &str) -> Option<(&str, &str)> {
    let (name, text) = word.split_once('=')?;
    let name = name.trim_start_matches('+');
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_name = name.starts_with(is_start) && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    is_name.then_some((name, text))
}

/// A hyperparameter to which the command of a program gives one value: `--lr 0.1`, `--lr=0.1` or `lr=0.1`.
#[derive(Clone, Debug, PartialEq)]
pub struct Literal {
    /// The name of the option.
    pub name: String,
    /// Its value in all trials.
    pub value: Value,
    /// The command up to the value: `--lr `, `--lr=` or `lr=`.
    before: String,
    /// The value as the command has it.
    text: String,
}

impl Literal {
    /// Says what the command has: "`--lr 0.1` in the command".
    pub fn shown(&self) -> String {
        self.shown_with(&self.text)
    }

    /// The same with another value.
    pub(crate) fn shown_with(&self, text: &str) -> String {
        format!("`{}{text}` in the command", self.before)
    }

    /// Whether this is the option of a hyperparameter's name.
    pub fn is_named(&self, name: &str) -> bool {
        is_same_name(&self.name, name)
    }

    /// Whether this is the batch size.
    pub fn is_batch_size(&self) -> bool {
        kind(&self.name) == Some(Kind::BatchSize)
    }
}

/// The options of a command whose names are usual ones of hyperparameters.
#[derive(Debug, Default)]
struct Options {
    /// Those with one value.
    literals: Vec<Literal>,
    /// The names of those whose value is inserted, is not known, or is left out in some trials.
    others: Vec<String>,
}

/// Returns the hyperparameters to which the command of a study gives one value. A declaration of the same name goes
/// first: then it is none of them.
pub fn literals(definition: &StudyDefinition) -> Vec<Literal> {
    let WorkloadReference::Command(line) = &definition.workload else { return vec![] };
    let declared = definition.space.hyperparameters();
    let is_free = |literal: &Literal| !declared.iter().any(|h| literal.is_named(&h.name));
    options(line).literals.into_iter().filter(is_free).collect()
}

/// Whether a command has an option of this name whose value is not the same in all trials, or is not known.
pub(crate) fn may_vary(workload: &WorkloadReference, name: &str) -> bool {
    let WorkloadReference::Command(line) = workload else { return false };
    options(line).others.iter().any(|other| is_same_name(other, name))
}

/// The space of a study in which what its command fixes is declared too, behind the other declarations.
pub(crate) fn space_with_literals(definition: &StudyDefinition) -> Cow<'_, SearchSpace> {
    let literals = literals(definition);
    if literals.is_empty() {
        return Cow::Borrowed(&definition.space);
    }
    let mut space = definition.space.clone();
    for Literal { name, value, .. } in literals {
        let distribution = Distribution::constant(value);
        // It can be added: no declaration has this name.
        let _ = space.declare(Hyperparameter { name, role: Role::Fixed, distribution, conditions: vec![] });
    }
    Cow::Owned(space)
}

fn options(line: &ProgramLine) -> Options {
    let words = &line.words;
    let is_optional = |i: usize| line.optional.iter().any(|part| part.contains(&i));
    let mut found = Options::default();
    let mut next = 1;
    while let Some(word) = words.get(next) {
        let place = next;
        next += 1;
        // A usual name behind one dash is an option too: `-lr 0.1`.
        let (name, text) = match word.strip_prefix("--").or_else(|| word.strip_prefix('-')) {
            Some(option) => match option.split_once('=') {
                Some(option) => option,
                None => {
                    let value = words.get(next).filter(|value| kind(option).is_some() && !is_option(value));
                    // Without a value it is a switch.
                    let Some(value) = value else { continue };
                    next += 1;
                    (option, value.as_str())
                }
            },
            None => {
                let last = words[place - 1].as_str();
                let may_be_value = last.starts_with('-') && !last.contains('=') && !BEFORE_SETTINGS.contains(&last);
                let Some(setting) = setting(word).filter(|_| !may_be_value) else { continue };
                setting
            }
        };
        let Some(kind) = kind(name) else { continue };
        // Programs take the last one.
        found.literals.retain(|earlier| !earlier.is_named(name));
        match value(kind, text).filter(|_| !is_optional(place) && !is_optional(next - 1)) {
            Some(value) => {
                let before = word.strip_suffix(text).filter(|_| next == place + 1);
                let before = before.map_or_else(|| format!("{word} "), String::from);
                found.literals.push(Literal { name: name.into(), value, before, text: text.into() });
            }
            None => found.others.push(name.into()),
        }
    }
    let Options { literals, others } = &mut found;
    literals.retain(|literal| !others.iter().any(|other| literal.is_named(other)));
    found
}

/// Whether a word is an option, and no negative number.
fn is_option(word: &str) -> bool {
    word.starts_with('-') && word.parse::<f64>().is_err()
}

/// The value of an option of this kind. None if the text is no such value: it has a placeholder, or is a path.
fn value(kind: Kind, text: &str) -> Option<Value> {
    if let Ok(whole) = text.parse() {
        return Some(Value::Int(whole));
    }
    if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
        return Some(Value::Float(number));
    }
    if let Ok(switch) = text.to_lowercase().parse() {
        return Some(Value::Bool(switch));
    }
    let is_word = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-:".contains(c));
    let is_file = text.rsplit_once('.').is_some_and(|(_, end)| FILES.contains(&end) || SCRIPTS.contains(&end));
    (matches!(kind, Kind::Schedule | Kind::Optimizer) && is_word && !is_file).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunebook_study::{Direction, Objective, ObjectiveValue};

    fn split(line: &str) -> Vec<String> {
        line.split(' ').map(String::from).collect()
    }

    fn command(words: Vec<String>) -> WorkloadReference {
        WorkloadReference::Command(ProgramLine { words, optional: vec![] })
    }

    #[test]
    fn a_program_is_the_same_with_other_options() {
        for (line, expected) in [
            ("python train.py --lr {lr}", "python train.py"),
            ("python3.11 -u train.py {lr}", "python3.11 -u train.py"),
            ("python -m package.train --lr {lr}", "python -m package.train"),
            ("python -W ignore train.py -b {bs}", "python -W ignore train.py"),
            ("python train.py batch_size=16 lr={lr}", "python train.py"),
            ("python train.py +model.width=16 lr={lr}", "python train.py"),
            ("./train -b {bs} -l {lr}", "./train"),
            ("/opt/train.sh vit --lr={lr}", "/opt/train.sh vit"),
            ("./train runs/a=1 --lr {lr}", "./train runs/a=1"),
            ("torchrun --nproc_per_node 8 train.py --config a.yaml --lr {lr}", "torchrun train.py"),
            ("accelerate launch --num_processes {n} train.py", "accelerate launch train.py"),
            ("env OMP_NUM_THREADS=1 python train.py --lr {lr}", "env train.py"),
        ] {
            assert_eq!(program(&split(line)).join(" "), expected, "{line}");
        }
        let inline = |script: &str| command(["sh", "-c", script, "x", "{lr}"].map(String::from).to_vec());
        assert!(is_same_project(&inline("echo {x}"), &inline("echo {x}")));
        assert!(!is_same_project(&inline("echo {x}"), &inline("echo {y}")), "the script is the program");
        let builtin = |name: &str| WorkloadReference::Builtin { name: name.into() };
        assert!(is_same_project(&builtin("a"), &builtin("a")) && !is_same_project(&builtin("a"), &builtin("b")));
        assert!(!is_same_project(&builtin("a"), &command(split("a"))));
    }

    /// What the command of a study fixes, as messages show it. The study declares these hyperparameters.
    fn shown(line: &ProgramLine, declared: &[&str]) -> Vec<String> {
        let mut space = SearchSpace::new();
        for name in declared {
            let distribution = Distribution::log_uniform(1e-4, 1.0).unwrap();
            let (name, role) = (name.to_string(), Role::Nuisance);
            space.declare(Hyperparameter { name, role, distribution, conditions: vec![] }).unwrap();
        }
        let workload = WorkloadReference::Command(line.clone());
        let judged = ObjectiveValue::Best;
        let objective = Objective { metric: "loss".into(), direction: Direction::Minimize, judged };
        let definition = StudyDefinition::new(workload, space, objective);
        let literals = literals(&definition);
        assert_eq!(space_with_literals(&definition).hyperparameters().len(), declared.len() + literals.len());
        literals.into_iter().map(|literal| literal.shown().replace(" in the command", "").replace('`', "")).collect()
    }

    #[test]
    fn options_with_a_value_and_a_usual_name_are_known() {
        let of = |line: &str| {
            let words = split(&format!("python3 train.py {line}"));
            shown(&ProgramLine { words, optional: vec![] }, &["lr"]).join(", ")
        };
        for (line, expected) in [
            ("--weight-decay 0.1 --lr {lr}", "--weight-decay 0.1"),
            ("--weight-decay=1e-4", "--weight-decay=1e-4"),
            ("optimizer.weight_decay=.1 lr={lr}", "optimizer.weight_decay=.1"),
            ("+wd=0.1", "+wd=0.1"),
            ("--optimizer adamw --lr_scheduler_type cosine", "--optimizer adamw, --lr_scheduler_type cosine"),
            ("--optim torch.optim.AdamW", "--optim torch.optim.AdamW"),
            ("--wd -0.1 --bs 16", "--wd -0.1, --bs 16"),
            ("-wd 0.1 -bs=16", "-wd 0.1, -bs=16"),
            ("--amp --bs=16 --v", "--bs=16"),
            ("--bs 16 --bs 32", "--bs 32"),
            ("--cfg-options optimizer.weight_decay=0.1 batch_size=4", "optimizer.weight_decay=0.1, batch_size=4"),
            ("base wd=0.1", "wd=0.1"),
        ] {
            assert_eq!(of(line), expected, "{line}");
        }
        for line in [
            "--v --amp",
            "--dropout",
            "--dropout --amp",
            "--schedule -x",
            "--dropout {p} --schedule={s}",
            "--schedule configs/cosine.yaml",
            "--schedule cosine.yaml",
            "--optim=./optim",
            "--dropout train.py",
            "--batch-size auto",
            "--schedule=",
            "--out runs/wd=0.1",
            "--name wd=0.1",
            "./runs/wd=0.1",
            "wd=0.1/run",
            "-w 0.1 -b 16",
            "--width 16 --warmup-steps=100",
            "--bs 16 --bs {n}",
            "lr=0.1,0.2 bs=8,16",
            "--lr nan",
            "-- --",
        ] {
            assert_eq!(of(line), "", "{line}");
        }
    }

    #[test]
    fn a_declaration_of_the_same_name_goes_first() {
        let of = |line: &str, declared: &[&str]| shown(&ProgramLine { words: split(line), optional: vec![] }, declared);
        for line in ["t --lr 0.01 --peak {lr}", "t --LR=0.01 {lr}", "t optimizer.lr=0.01 {lr}", "t --lr 0.01 --lr {lr}"]
        {
            assert_eq!(of(line, &["lr"]), Vec::<String>::new(), "{line}");
        }
        assert_eq!(of("t --weight-decay 0.1 {weight_decay}", &["weight_decay"]), Vec::<String>::new());
        assert_eq!(of("t --lr 0.01 {wd}", &["wd"]), ["--lr 0.01"]);
        assert_eq!(of("t --lr 0.01 --lr {rate}", &["rate"]), Vec::<String>::new(), "the option is inserted too");
    }

    #[test]
    fn what_is_left_out_in_some_trials_is_no_value_of_all() {
        let words = split("t --wd 0.1 --lr {lr} --bs 16");
        let line = |optional| ProgramLine { words: words.clone(), optional };
        assert_eq!(shown(&line(vec![]), &["lr"]), ["--wd 0.1", "--bs 16"]);
        let optional = line(std::iter::once(1..5).collect());
        assert_eq!(shown(&optional, &["lr"]), ["--bs 16"]);
        let workload = WorkloadReference::Command(optional);
        assert!(may_vary(&workload, "wd") && may_vary(&workload, "lr") && !may_vary(&workload, "bs"));
    }
}
