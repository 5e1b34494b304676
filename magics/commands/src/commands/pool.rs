//! `%pool`: lists, adds and removes pools of slots beyond this machine.

use crate::error::{ErrorName, Result, suggest};
use crate::files;
use crate::host::{Interrupt, Output};
use crate::magic::{Command, Context, Export, Invocation, LOCAL, Magic, Pools, Subject, is_at_work};
use crate::report::Report;
use crate::report::table::Rows;
use crate::syntax::{Arguments, OptionSpec, Word, option};
use serde_json::json;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tunebook_pool::{FarPool, Kubernetes, Launcher, SlotState, SlotStatus, default_slots};

pub const MAGIC: Magic = Magic {
    name: "pool",
    line: true,
    body: None,
    usage: "%pool\n%pool add NAME --prefix 'ssh HOST' --slots N\n%pool add NAME --slurm 'OPTIONS OF SRUN' --slots N\n\
        %pool add NAME --kubernetes 'image=IMAGE gpu=1' --slots N\n\
        %pool add NAME … --copy [--with 'data/*.csv']\n%pool remove NAME",
    example: "%pool add gentle --prefix 'nice -n 10' --slots 2\n%pool\n%pool remove gentle",
    summary: "Where trials run: slots on this machine, on other machines, and of a cluster's scheduler",
    help: "A slot runs one trial at a time. Sweeps use the slots of this machine (the pool `local`) and those of all \
        pools that were added; `%pool remove local` keeps trials off this machine. `--parallel` of a sweep bounds the \
        number of trials that run at the same time in all pools together.\n\n\
        Tunebook reaches a slot elsewhere by a command: it appends its own command to yours, for example to `ssh \
        HOST`, which then runs it there, with standard input and output connected. The command starts when trials \
        wait. The slot takes its first trial when it has answered, and ends with the sweep.\n\n\
        Without `--copy`, nothing is copied: kernel, worker, libtorch, the folder of the notebook and that of the \
        studies must have the same paths there, on a file system that both machines share. Each slot checks this \
        before its first trial.\n\n\
        With `--copy`, the machines share nothing. What trials need goes through the standard input of the slot, once \
        to each machine, and again when it has changed: the executable of Tunebook, worker and libtorch, the files that \
        the command names, the data files that hyperparameters or the source of a `%%workload` name, and what `--with` \
        names. All of it lies below `~/.cache/tunebook/node` there, and programs run in the copy of the notebook's \
        folder. At the end of a trial its log, its checkpoints and its other files of up to 10 MiB come back. The other \
        machine must run Linux on the same kind of processor, and have what programs need, such as Python with its \
        packages.",
    options: OPTIONS,
    subject: Subject::None,
    export: Export::Comment,
    parse,
};

const OPTIONS: &[OptionSpec] = &[
    option(
        "prefix",
        Some("COMMAND"),
        "a command such as `ssh HOST`, to which Tunebook appends its own; `{slot}` is the number of the slot, from 0",
    ),
    option("slurm", Some("OPTIONS"), "options of `srun`, which asks for a job for each slot"),
    option(
        "kubernetes",
        Some("KEYS"),
        "a pod for each slot: image=IMAGE, and if needed gpu=N, cpu=N, memory=8Gi, volume=CLAIM:/path, namespace=NAME, \
         context=NAME",
    ),
    option("slots", Some("N"), "how many slots the pool has (default: 1)"),
    option("copy", None, "copy what trials need, for machines that share no file system with this one"),
    option(
        "with",
        Some("PATH…"),
        "an additional file or folder to copy, from the folder of the notebook; `*` stands for any text between two \
         `/`. May be given several times",
    ),
];

/// So many slots are listed one by one.
const SLOTS_SHOWN: usize = 20;
/// A pool has at most so many slots.
const MOST_SLOTS: u32 = 10_000;

enum Action {
    List,
    /// Adds a pool. The words name the files that are copied to it besides those that trials need.
    Add(FarPool, Vec<Word>),
    /// Lets trials run on this machine again.
    AddLocal,
    Remove(String),
}

struct PoolMagic {
    arguments: Arguments,
    action: Action,
}

fn parse(Invocation { arguments, .. }: Invocation) -> Result<Box<dyn Command>> {
    let action = match arguments.positional.first().map(|word| word.text.as_str()) {
        None => Action::List,
        Some("add") => add(&arguments)?,
        Some("remove") => Action::Remove(arguments.required(1, "the name of the pool")?.text.clone()),
        Some(_) => {
            let word = &arguments.positional[0];
            let message = format!("`%pool` does not know `{}`", word.text);
            let help = suggest(&word.text, vec!["add", "remove"]);
            let help = help.or_else(|| Some("write `%pool`, `%pool add NAME …` or `%pool remove NAME`".into()));
            return Err(arguments.source.syntax_error(word.span.clone(), message, help));
        }
    };
    arguments.at_most(2)?;
    if !matches!(action, Action::Add(..))
        && let Some(word) = OPTIONS.iter().find_map(|spec| arguments.option(spec.name))
    {
        let message = match action {
            Action::AddLocal => "`local` is the name of this machine's own slots, and takes no options",
            _ => "only `%pool add NAME` takes options",
        };
        let help = matches!(action, Action::AddLocal).then(|| "give the pool another name".to_string());
        return Err(arguments.source.syntax_error(word.span.clone(), message, help));
    }
    Ok(Box::new(PoolMagic { arguments, action }))
}

fn add(arguments: &Arguments) -> Result<Action> {
    let name = arguments.required(1, "the name of the pool")?;
    if name.text == LOCAL {
        return Ok(Action::AddLocal);
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.text.is_empty() || !name.text.chars().all(is_plain) {
        return Err(arguments.invalid(name, "the name of a pool consists of letters, digits, `-` and `_`"));
    }
    let kinds = ["prefix", "slurm", "kubernetes"];
    let mut given = kinds.iter().filter_map(|kind| Some((*kind, arguments.option(kind)?)));
    let Some((kind, value)) = given.next() else {
        let message = "what leads to the slots is missing";
        let help = Some("write `--prefix 'ssh HOST'`, `--slurm 'OPTIONS'` or `--kubernetes 'image=IMAGE'`".into());
        return Err(arguments.source.syntax_error(name.span.clone(), message, help));
    };
    if let Some((other, word)) = given.next() {
        let message = format!("use either `--{other}` or `--{kind}`: a pool has one kind of slots");
        return Err(arguments.source.syntax_error(word.span.clone(), message, None));
    }
    let words = shell_words::split(&value.text)
        .map_err(|_| arguments.invalid(value, "a quote in this value is never closed"))?;
    let launcher = match kind {
        "prefix" if words.is_empty() => return Err(arguments.invalid(value, "the command is empty")),
        "prefix" => {
            check_placeholders(arguments, value, &words)?;
            Launcher::Prefix(words)
        }
        "slurm" => {
            check_slurm(arguments, value, &words)?;
            Launcher::Slurm(words)
        }
        _ => Launcher::Kubernetes(
            Kubernetes::parse(&words).map_err(|error| arguments.invalid(value, error.to_string()))?,
        ),
    };
    let slots = arguments.small_count("slots", 1)?.unwrap_or(1);
    if slots > MOST_SLOTS
        && let Some(word) = arguments.option("slots")
    {
        return Err(arguments.invalid(word, format!("a pool has at most {MOST_SLOTS} slots")));
    }
    let with: Vec<Word> = arguments.all("with").cloned().collect();
    if let Some(word) = with.first().filter(|_| !arguments.has("copy")) {
        let message = "`--with` names files to copy, and nothing is copied without `--copy`";
        return Err(arguments.source.syntax_error(word.span.clone(), message, None));
    }
    // The paths are looked up when the pool is added.
    let copies = arguments.has("copy").then(Vec::new);
    Ok(Action::Add(FarPool { name: name.text.clone(), id: 0, launcher, slots: slots as usize, copies }, with))
}

/// The absolute paths that the values of `--with` name. Each names at least one file or folder.
fn paths(arguments: &Arguments, context: &Context, with: &[Word]) -> Result<Vec<String>> {
    let current = files::current()?;
    let mut paths = vec![];
    for word in with {
        let path = current.join(files::expand(context, &word.text)).to_string_lossy().into_owned();
        if files::matching(&path).is_empty() {
            let message = format!("there is no file or folder `{}` to copy", word.text);
            let help = format!("paths of `--with` begin in the folder of the notebook, {}", current.display());
            return Err(arguments.source.error(ErrorName::InvalidValue, word.span.clone(), message, Some(help)));
        }
        paths.push(path);
    }
    Ok(paths)
}

/// An error if the program of a prefix cannot be started.
fn check_program(arguments: &Arguments, context: &Context, pool: &FarPool) -> Result<()> {
    let Launcher::Prefix(words) = &pool.launcher else { return Ok(()) };
    let (Some(first), Some(value)) = (words.first(), arguments.option("prefix")) else { return Ok(()) };
    let name = first.replace("{slot}", "0");
    let (message, help) = match files::program(context, &name) {
        Some(path) if path.metadata().is_ok_and(|file| file.permissions().mode() & 0o111 != 0) => return Ok(()),
        Some(path) => {
            let help = format!("`!chmod +x {}` changes that", shell_words::quote(&path.to_string_lossy()));
            (format!("`{name}` cannot be executed"), help)
        }
        None if name.contains('/') => {
            let help =
                format!("a path begins with `/`, or in the folder of the notebook, {}", files::current()?.display());
            (format!("there is no program `{name}`"), help)
        }
        None => {
            let help = "install it, write its absolute path, or change `PATH` with `%env PATH=…`".to_string();
            (format!("there is no program `{name}` in the folders of PATH"), help)
        }
    };
    Err(arguments.source.error(ErrorName::InvalidValue, value.span.clone(), message, Some(help)))
}

/// What is to be said about a pool that cannot work as it is.
fn warning(pool: &FarPool) -> Option<String> {
    match &pool.launcher {
        Launcher::Kubernetes(pod) if pool.copies.is_none() && !pod.has_volume() => Some(format!(
            "The pods of `{0}` have only what their image has: they mount no volume, and nothing is copied to them. \
             `%pool remove {0}` removes the pool; then add it with `--copy`, or with `volume=CLAIM:/path` for a volume \
             that this machine mounts at the same path.",
            pool.name
        )),
        _ => None,
    }
}

/// An error if a prefix has a `{name}` that stands for nothing. What a shell reads as a variable (`${name}`) stays.
fn check_placeholders(arguments: &Arguments, value: &Word, words: &[String]) -> Result<()> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    for word in words {
        for (at, _) in word.match_indices('{').filter(|(at, _)| !word[..*at].ends_with('$')) {
            let Some((name, _)) = word[at + 1..].split_once('}') else { continue };
            if is_name(name) && name != "slot" {
                let message = format!("`{{{name}}}` in a prefix stands for nothing");
                let help = "`{slot}` is the number of the slot, from 0; there is no other".to_string();
                return Err(arguments.source.error(ErrorName::InvalidValue, value.span.clone(), message, Some(help)));
            }
        }
    }
    Ok(())
}

/// The options of `srun` that redirect or change the standard streams, long and short.
const STREAMS: [(&str, char); 5] = [("input", 'i'), ("output", 'o'), ("error", 'e'), ("label", 'l'), ("pty", '\0')];
/// The short options of `srun` that take no value, so that another one may follow in the same word.
const WITHOUT_VALUE: &str = "EhHjkOQsuvVXZ";

/// Whether a word is an option of `srun` that redirects or changes the standard streams. Long options can be cut short.
fn changes_streams(word: &str) -> bool {
    if let Some(long) = word.strip_prefix("--") {
        let name = long.split('=').next().unwrap_or(long);
        return name.len() >= 2 && STREAMS.iter().any(|(long, _)| long.starts_with(name));
    }
    let of_word = word.strip_prefix('-').and_then(|short| short.chars().find(|c| !WITHOUT_VALUE.contains(*c)));
    of_word.is_some_and(|c| STREAMS.iter().any(|(_, short)| *short == c))
}

/// A word that is no option would be the program that `srun` runs. An option for the standard streams would cut the
/// slot off.
fn check_slurm(arguments: &Arguments, value: &Word, words: &[String]) -> Result<()> {
    if let Some(first) = words.first().filter(|first| !first.starts_with('-')) {
        let message = format!("`{first}` is not an option of `srun`; options begin with `-`");
        return Err(arguments.invalid(value, message));
    }
    let Some(word) = words.iter().find(|word| changes_streams(word)) else { return Ok(()) };
    let written = &arguments.source.text()[value.span.clone()];
    let begins = |at: &usize| *at == 0 || written[..*at].ends_with(['\'', '"', ' ', '=']);
    let at = written.match_indices(word.as_str()).map(|(at, _)| at).find(begins);
    let span = at.map_or(value.span.clone(), |at| value.span.start + at..value.span.start + at + word.len());
    let message = format!("`{word}` changes the standard streams of the job, through which Tunebook talks to the slot");
    let help = "leave it out: what each trial prints is in `log.txt` in its folder".to_string();
    Err(arguments.source.error(ErrorName::InvalidValue, span, message, Some(help)))
}

impl Command for PoolMagic {
    fn run(self: Box<Self>, context: &Context, output: &dyn Output, _: &Interrupt) -> Result<()> {
        let Self { arguments, action } = *self;
        let error = |message: String, help: Option<String>| {
            let span = arguments.positional.get(1).map_or(arguments.line.clone(), |word| word.span.clone());
            arguments.source.error(ErrorName::InvalidValue, span, message, help)
        };
        let (mut said, mut removed) = (None, None);
        {
            let mut pools = context.pools.lock();
            match action {
                Action::List => {}
                Action::AddLocal => pools.set_local(true),
                Action::Add(mut pool, with) => {
                    if pools.far.iter().any(|known| known.name == pool.name) {
                        let help = Some(format!("`%pool remove {}` removes the one that is there", pool.name));
                        return Err(error(format!("there is a pool `{}` already", pool.name), help));
                    }
                    check_program(&arguments, context, &pool)?;
                    if !with.is_empty() {
                        pool.copies = Some(paths(&arguments, context, &with)?);
                    }
                    said = warning(&pool);
                    pools.add(pool);
                }
                Action::Remove(name) => {
                    remove(&mut pools, &name).map_err(|help| error(format!("there is no pool `{name}`"), help))?;
                    removed = Some(name);
                }
            }
        }
        let report = report(context);
        let report = match said {
            Some(said) => report.field("warning", &said).line(&said),
            None => report,
        };
        let sweeps = removed.as_deref().map(|name| (name, sweeps_in(context, name)));
        let report = match sweeps.filter(|(_, sweeps)| !sweeps.is_empty()) {
            Some((name, sweeps)) => report.field("sweeps", &sweeps).line(&goes_on(name, &sweeps)),
            None => report,
        };
        report.show(&context.charts, output);
        Ok(())
    }
}

/// Removes a pool. The error is help for the user.
fn remove(pools: &mut Pools, name: &str) -> std::result::Result<(), Option<String>> {
    if name == LOCAL {
        pools.set_local(false);
        return Ok(());
    }
    if !pools.remove(name) {
        let names = pools.far.iter().map(|pool| pool.name.as_str()).chain([LOCAL]).collect::<Vec<_>>();
        return Err(suggest(name, names));
    }
    Ok(())
}

/// The studies that run in the background and began with the slots of a pool.
fn sweeps_in(context: &Context, pool: &str) -> Vec<String> {
    let (running, file) = (context.background.running(), context.store_file());
    if running.is_empty() {
        return vec![];
    }
    let store = context.store().ok();
    let uses = |study: &str| {
        let store = store.as_ref()?;
        let study = store.study(study).ok()??;
        let environment = store.environment(&study).ok()??;
        let is_of_pool = |slot: &str| slot.split_once('/').map_or(LOCAL, |(name, _)| name) == pool;
        let slots = environment["slots"].as_array()?;
        Some(slots.iter().filter_map(|slot| slot.as_str()).any(is_of_pool))
    };
    // A study of another store is named too: it may use them.
    let uses = |study: &str, of: &Path| of != file || uses(study).unwrap_or(true);
    running.iter().filter(|sweep| uses(&sweep.study, &sweep.store)).map(|sweep| sweep.study.clone()).collect()
}

/// The sentence about sweeps that began with the slots of a pool that was removed.
fn goes_on(pool: &str, sweeps: &[String]) -> String {
    let names: Vec<String> = sweeps.iter().map(|study| format!("`{study}`")).collect();
    format!(
        "Trials of {} that run in `{pool}` continue to their end, and no other trial starts there. A sweep that has no \
         other slot then ends, and `--resume` continues it.",
        names.join(", ")
    )
}

fn report(context: &Context) -> Report {
    let (devices, _) = context.devices();
    let per_gpu = context.config.per_gpu().unwrap_or(1);
    let here = default_slots(&devices, &[], &context.added_environment(), Path::new("."), None, per_gpu);
    let pools = context.pools.lock();
    let all = pools.status();
    let mut rows = Rows::new(&["pool", "kind", "slots", "running", "pending", "failed", "idle", "trials"]);
    let mut listed = vec![];
    let mut list =
        |(name, id): (&str, Option<u64>), kind: Option<&str>, slots: usize, copies: bool, command: Option<String>| {
            let status: Vec<&SlotStatus> = all.iter().filter(|slot| slot.pool_id == id).collect();
            let count = |state| status.iter().filter(|slot| slot.state == state).count();
            let (running, pending, failed) =
                (count(SlotState::Running), count(SlotState::Pending), count(SlotState::Failed));
            let idle = slots.saturating_sub(running + pending + failed);
            let trials: u32 = status.iter().map(|slot| slot.trials).sum();
            let reason = reason(&status);
            let counts = [slots, running, pending, failed, idle].map(|count| count.to_string());
            let kind_shown = format!("{}{}", kind.unwrap_or("removed"), if copies { ", copies" } else { "" });
            let mut row = vec![name.to_string(), kind_shown];
            row.extend(counts);
            row.push(trials.to_string());
            rows.row(row);
            let copies = kind.map(|_| copies);
            listed.push(json!({ "pool": name, "kind": kind, "copies": copies, "slots": slots, "running": running,
            "pending": pending, "failed": failed, "idle": idle, "trials": trials, "reason": reason,
            "command": command, "states": status, "removed": kind.is_none() }));
        };
    if !pools.without_local {
        list((LOCAL, None), Some(LOCAL), here.len(), false, None);
    }
    for pool in &pools.far {
        let words = pool.launcher.command(&pool.name, 0, &["tunebook".into(), "slot".into()]);
        let copies = pool.copies.is_some();
        let of_pool = (pool.name.as_str(), Some(pool.id));
        list(of_pool, Some(pool.launcher.kind()), pool.slots, copies, Some(shell_words::join(words)));
    }
    // Pools that were removed while trials run in them. A new one may have the name of one of them.
    let is_added = |id: Option<u64>| match id {
        None => !pools.without_local,
        Some(id) => pools.far.iter().any(|pool| pool.id == id),
    };
    let mut removed: BTreeMap<(&str, Option<u64>), usize> = BTreeMap::new();
    for slot in all.iter().filter(|slot| !is_added(slot.pool_id)) {
        *removed.entry((slot.pool.as_deref().unwrap_or(LOCAL), slot.pool_id)).or_default() += 1;
    }
    removed.retain(|(_, id), _| all.iter().any(|slot| slot.pool_id == *id && is_at_work(slot)));
    for (pool, slots) in &removed {
        list(*pool, None, *slots, false, None);
    }
    let mut slots = Rows::new(&["slot", "state", "node", "job", "trials", "lost", "reason"]);
    let is_listed = |slot: &&SlotStatus| {
        slot.pool.is_some() && (is_added(slot.pool_id) || removed.keys().any(|(_, id)| *id == slot.pool_id))
    };
    let mut far: Vec<&SlotStatus> = all.iter().filter(is_listed).collect();
    // Those with a reason come first.
    let order = [SlotState::Failed, SlotState::Pending, SlotState::Running, SlotState::Idle];
    far.sort_by_key(|slot| order.iter().position(|state| *state == slot.state));
    for slot in far {
        let state =
            if slot.given_up { "given up".into() } else { json!(slot.state).as_str().unwrap_or("").to_string() };
        let text = |text: &Option<String>| text.clone().unwrap_or("–".into());
        let (trials, lost) = (slot.trials.to_string(), slot.lost.to_string());
        slots.row(vec![slot.slot.clone(), state, text(&slot.node), text(&slot.job), trials, lost, text(&slot.reason)]);
    }
    let mut report = Report::new("pool", &json!({ "pools": listed })).table(&rows);
    if !removed.is_empty() {
        report = report.line("A removed pool is listed until the trials that run in it have ended.");
    }
    if pools.without_local {
        report = report.line("No trial runs on this machine; `%pool add local` changes that.");
    }
    report.first_rows(slots, SLOTS_SHOWN, "slots")
}

/// The reason that most slots have which wait or have failed.
fn reason(status: &[&SlotStatus]) -> Option<String> {
    let mut reasons: Vec<(&str, usize)> = vec![];
    for slot in status.iter().filter(|slot| matches!(slot.state, SlotState::Pending | SlotState::Failed)) {
        let Some(reason) = &slot.reason else { continue };
        match reasons.iter_mut().find(|(known, _)| known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason, 1)),
        }
    }
    reasons.into_iter().max_by_key(|(_, count)| *count).map(|(reason, _)| reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::{changes_streams, report};
    use crate::host::RESULT_MIME;
    use crate::testing::{FakeHost, Shown, context, run};
    use serde_json::json;
    use tunebook_pool::{FarPool, Launcher, SlotState, SlotStatus};

    #[test]
    fn a_removed_pool_is_listed_beside_a_new_one_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (context, host) = (context(folder.path()), FakeHost::default());
        let pool = || FarPool { name: "far".into(), id: 0, launcher: Launcher::Prefix(vec![]), slots: 1, copies: None };
        {
            let mut pools = context.pools.lock();
            pools.set_local(false);
            pools.add(pool());
            let slot = SlotStatus {
                slot: "far/1".into(),
                pool: Some("far".into()),
                pool_id: Some(pools.far[0].id),
                state: SlotState::Running,
                given_up: false,
                node: None,
                job: None,
                reason: None,
                unanswered: None,
                trials: 3,
                lost: 0,
            };
            pools.runs("s", vec![slot]);
            pools.remove("far");
            pools.add(pool());
        }
        report(&context).show(&context.charts, &host);
        let shown = host.shown();
        let Some(Shown::Display(display)) = shown.last() else { panic!("{shown:?}") };
        let of = |index: usize| {
            let pool = &display[RESULT_MIME]["pools"][index];
            json!([pool["pool"], pool["removed"], pool["running"], pool["idle"], pool["trials"]])
        };
        assert_eq!((of(0), of(1)), (json!(["far", false, 0, 1, 0]), json!(["far", true, 1, 0, 3])));
    }

    #[test]
    fn other_options_of_srun_change_no_stream() {
        let others =
            ["--exclusive", "--ntasks-per-node=1", "--licenses=a", "--export=ALL", "-p", "-wlio", "-c2", "--", "-"];
        assert!(others.iter().all(|word| !changes_streams(word)));
    }

    fn error(line: &str) -> String {
        run(line, &FakeHost::default()).unwrap_err().traceback().join("\n")
    }

    #[test]
    fn mistakes_are_named_before_anything_is_added() {
        assert!(error("%pool ad gpu").contains("did you mean `add`"));
        assert!(error("%pool add").contains("the name of the pool is missing"));
        assert!(error("%pool add gpu").contains("what leads to the slots is missing"));
        assert!(error("%pool add 'a b' --prefix env").contains("letters, digits"));
        let both = error("%pool add gpu --prefix env --slurm '-n1'");
        assert!(both.contains("use either `--slurm` or `--prefix`"), "{both}");
        assert!(error("%pool add local --prefix x").contains("`local` is the name of this machine's own slots"));
        assert!(error("%pool add local --copy").contains("takes no options"));
        assert!(error("%pool add gpu --prefix ''").contains("the command is empty"));
        let nowhere = error("%pool add gpu --prefix '/nowhere.sh x' --copy");
        assert!(nowhere.contains("there is no program `/nowhere.sh`") && nowhere.contains("folder of the notebook"));
        assert!(error("%pool add gpu --prefix nowhere-at-all").contains("in the folders of PATH"));
        let unknown = error("%pool add gpu --prefix 'ssh host{slto} env X={slot}'");
        assert!(unknown.contains("`{slto}` in a prefix stands for nothing") && unknown.contains("`{slot}` is the"));
        let of_shell = error("%pool add gpu --prefix 'nowhere-at-all ${HOME} {a,b} {slot}'");
        assert!(of_shell.contains("in the folders of PATH"), "{of_shell}");
        assert!(error("%pool add gpu --prefix env --slots 0").contains("at least 1"));
        assert!(error("%pool add gpu --prefix env --slots 20000").contains("at most 10000"));
        assert!(error("%pool add gpu --slurm 'gpu'").contains("not an option of `srun`"));
        for option in
            ["--label", "--output=/x", "--out=/x", "--error=e", "--input=i", "--pty", "-l", "-ul", "-o", "-e/x"]
        {
            let said = error(&format!("%pool add gpu --slurm '--gpus=1 {option}'"));
            assert!(said.contains(&format!("`{option}` changes the standard streams")), "{said}");
        }
        assert!(error("%pool add gpu --kubernetes 'gpu=1'").contains("the image is missing"));
        assert!(error("%pool add gpu --prefix \"sh -c 'x\"").contains("never closed"));
        assert!(error("%pool remove gpu").contains("there is no pool `gpu`"));
        assert!(error("%pool add gpu --prefix env --with x").contains("nothing is copied without `--copy`"));
        let missing = error("%pool add gpu --prefix env --copy --with 'no/such*'");
        assert!(missing.contains("no file or folder `no/such*`") && missing.contains("folder of the notebook"));
        assert!(error("%pool --slots 3").contains("only `%pool add NAME` takes options"));
    }
}
