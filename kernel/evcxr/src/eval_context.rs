// Copyright 2020 The Evcxr Authors.
//
// Licensed under the Apache License, Version 2.0 <LICENSE or
// https://www.apache.org/licenses/LICENSE-2.0> or the MIT license <LICENSE
// or https://opensource.org/licenses/MIT>, at your option. This file may not be
// copied, modified, or distributed except according to those terms.

use crate::analysis::Analysis;
use crate::analysis::Findings;
use crate::analysis::WRAPPER;
use crate::cargo_metadata;
use crate::child_process::ChildProcess;
use crate::code_block;
use crate::code_block::CodeBlock;
use crate::code_block::CodeKind;
use crate::code_block::Segment;
use crate::code_block::UserCodeInfo;
use crate::crate_config::ExternalCrate;
use crate::errors::CompilationError;
use crate::errors::Error;
use crate::errors::Span;
use crate::errors::SpannedMessage;
use crate::errors::bail;
use crate::evcxr_internal_runtime;
use crate::evcxr_report;
use crate::impls;
use crate::item;
use crate::last_value;
use crate::last_value::KEPT;
use crate::last_value::LAST;
use crate::last_value::OLD_LAST;
use crate::module::Module;
use crate::module::RUNTIME_CRATE_NAME;
use crate::module::SoFile;
use crate::progress::Progress;
use crate::runtime;
use crate::rust_analyzer::Completions;
use crate::rust_analyzer::RustAnalyzer;
use crate::rust_analyzer::TypeName;
use crate::toml_parse;
use crate::type_names;
use crate::use_trees::Import;
use anyhow::Result;
use crossbeam_channel::Receiver;
use once_cell::sync::Lazy;
use ra_ap_ide::TextRange;
use ra_ap_ide::TextSize;
use ra_ap_syntax::AstNode;
use ra_ap_syntax::SyntaxKind;
use ra_ap_syntax::SyntaxNode;
use ra_ap_syntax::ast;
use regex::Regex;
use std::collections::HashMap;
use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

pub struct EvalContext {
    // Order is important here. We need to drop child_process before _tmpdir,
    // since if the subprocess hasn't terminated before we clean up the temporary
    // directory, then on some platforms (e.g. Windows), files in the temporary
    // directory will still be locked, so won't be deleted.
    child_process: ChildProcess,
    // Our tmpdir if EVCXR_TMPDIR wasn't set - Drop causes tmpdir to be cleaned up.
    _tmpdir: Option<tempfile::TempDir>,
    module: Module,
    committed_state: ContextState,
    stdout_sender: crossbeam_channel::Sender<String>,
    analysis: Analysis,
    /// How often code was sent to the child process.
    runs: u64,
    /// What rust-analyzer will say of the type of the last value, if `std::any::type_name` was not enough.
    last_value: Option<Receiver<Findings>>,
    /// The code that was compiled last.
    last_code: CodeBlock,
    initial_config: Config,
}

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) tmpdir: PathBuf,
    pub(crate) debug_mode: bool,
    // Whether we should preserve variables that are Copy when a panic occurs.
    // Sounds good, but unfortunately doing so currently requires an extra build
    // attempt to determine if the type of the variable is copy.
    pub(crate) preserve_vars_on_panic: bool,
    output_format: String,
    display_types: bool,
    /// The name of the cell, for what its threads print.
    cell_name: String,
    pub(crate) progress: Progress,
    /// Whether to try to display the final expression. Currently this needs to
    /// be turned off when doing tab completion or cargo check, but otherwise it
    /// should always be on.
    display_final_expression: bool,
    /// Whether the value of the final expression becomes the last value.
    keeps_last: bool,
    /// Whether to expand and deduplicate use statements. We need to be able to
    /// turn this off in order for tab-completion of use statements to work, but
    /// otherwise this should always be on.
    expand_use_statements: bool,
    pub(crate) opt_level: String,
    error_fmt: &'static ErrorFormat,
    /// Whether to pass -Ztime-passes to the compiler and print the result.
    /// Causes the nightly compiler, which must be installed to be selected.
    pub(crate) time_passes: bool,
    pub(crate) linker: String,
    pub(crate) codegen_backend: Option<String>,
    pub(crate) sccache: Option<PathBuf>,
    /// Whether to attempt to avoid network access.
    pub(crate) offline_mode: bool,
    pub(crate) toolchain: String,
    cargo_path: PathBuf,
    pub(crate) rustc_path: PathBuf,
    cache_bytes: u64,
    /// A string of the form "core:/path/to/libstd-...so". This must be libstd that corresponds to
    /// the rust compiler in `rustc_path` so must be updated whenever `rustc_path` is updated.
    pub(crate) core_extern: OsString,
    /// The host target that we're compiling for. e.g. x86_64-unknown-linux-gnu
    pub(crate) target: String,
    pub(crate) allow_static_linking: bool,
    pub(crate) build_envs: HashMap<String, String>,
    subprocess_path: PathBuf,
}

/// How long a cell waits for rust-analyzer before it is compiled although it is not known whether its
/// value displays itself.
const MAX_WAIT_FOR_DISPLAY: Duration = Duration::from_millis(400);

fn create_initial_config(tmpdir: PathBuf, subprocess_path: PathBuf) -> Result<Config> {
    let mut config = Config::new(tmpdir, subprocess_path)?;
    // default the linker to mold, then lld, first checking if either are installed
    // neither linkers support macos, so fallback to system (aka default)
    // https://github.com/rui314/mold/issues/132
    if !cfg!(target_os = "macos") && which::which("mold").is_ok() {
        "mold".clone_into(&mut config.linker);
    } else if !cfg!(target_os = "macos") && which::which("lld").is_ok() {
        "lld".clone_into(&mut config.linker);
    }
    Ok(config)
}

impl Config {
    pub fn new(tmpdir: PathBuf, subprocess_path: PathBuf) -> Result<Self> {
        let rustc_path = default_rustc_path()?;
        let core_extern = core_extern(&rustc_path)?;
        let target = get_host_target(Path::new(&rustc_path))?;
        Ok(Config {
            tmpdir,
            debug_mode: false,
            preserve_vars_on_panic: true,
            output_format: "{:?}".to_owned(),
            display_types: false,
            cell_name: String::new(),
            progress: Progress::default(),
            display_final_expression: true,
            keeps_last: true,
            expand_use_statements: true,
            opt_level: "2".to_owned(),
            error_fmt: &ERROR_FORMATS[0],
            time_passes: false,
            linker: "system".to_owned(),
            cache_bytes: 0,
            sccache: None,
            offline_mode: false,
            toolchain: String::new(),
            cargo_path: default_cargo_path()?,
            rustc_path,
            core_extern,
            target,
            // Forcing dynamic linking causes hard-to-diagnose problems in some cases, so it's off
            // by default.
            allow_static_linking: true,
            subprocess_path,
            codegen_backend: None,
            build_envs: Default::default(),
        })
    }

    pub fn set_sccache(&mut self, enabled: bool) -> Result<(), Error> {
        if enabled {
            if let Ok(path) = which::which("sccache") {
                self.sccache = Some(path);
            } else {
                bail!("Couldn't find sccache. Try running `cargo install sccache`.");
            }
        } else {
            self.sccache = None;
        }
        Ok(())
    }

    pub fn sccache(&self) -> bool {
        self.sccache.is_some()
    }

    pub fn set_cache_bytes(&mut self, bytes: u64) {
        self.cache_bytes = bytes;
    }

    pub fn cache_bytes(&self) -> u64 {
        self.cache_bytes
    }

    pub(crate) fn cargo_command(&self, command_name: &str) -> Command {
        let mut command = if self.linker == "mold" {
            Command::new("mold")
        } else {
            Command::new(&self.cargo_path)
        };
        if self.linker == "mold" {
            command.arg("-run").arg(&self.cargo_path);
        }
        if self.offline_mode {
            command.arg("--offline");
        }

        let mut rustflags = vec!["-Cprefer-dynamic".to_owned()];
        if self.linker == "lld" {
            rustflags.push(format!("-Clink-arg=-fuse-ld={}", self.linker));
        }
        if self.time_passes {
            rustflags.push("-Ztime-passes".to_owned());
        }
        if let Some(backend) = self.codegen_backend.as_ref() {
            rustflags.push(format!("-Zcodegen-backend={backend}"));
        }

        command
            .arg(command_name)
            .current_dir(self.crate_dir())
            .env("CARGO_TARGET_DIR", "target")
            // Ignore global build.build-dir, since we rely on stuff being under "target".
            .env("CARGO_BUILD_BUILD_DIR", "target")
            .env("RUSTC", &self.rustc_path)
            .env("RUSTFLAGS", rustflags.join(" "))
            .envs(&self.build_envs)
            .env(crate::module::CORE_EXTERN_ENV, &self.core_extern);
        if self.cache_bytes > 0 {
            command.env(crate::module::CACHE_ENABLED_ENV, "1");
            command.env(
                crate::module::cache::TARGET_DIR_ENV,
                self.common_target_dir(),
            );
        }

        if command_name == "build" || command_name == "check" {
            command
                .arg("--target")
                .arg(&self.target)
                .arg("--message-format=json");
        }

        if self.allow_static_linking && self.cache_bytes == 0 {
            if let Some(sccache) = &self.sccache {
                command.env("RUSTC_WRAPPER", sccache);
            }
        } else {
            command.env("RUSTC_WRAPPER", &self.subprocess_path);
            command.env(runtime::WRAP_RUSTC_ENV, "1");
            if !self.allow_static_linking {
                command.env(runtime::FORCE_DYLIB_ENV, "1");
            }
        }

        command
    }

    pub(crate) fn crate_dir(&self) -> &Path {
        &self.tmpdir
    }

    pub(crate) fn src_dir(&self) -> PathBuf {
        self.tmpdir.join("src")
    }

    pub(crate) fn deps_dir(&self) -> PathBuf {
        self.target_dir().join("debug").join("deps")
    }

    pub(crate) fn target_dir(&self) -> PathBuf {
        self.common_target_dir().join(&self.target)
    }

    pub(crate) fn common_target_dir(&self) -> PathBuf {
        self.tmpdir.join("target")
    }
}

#[derive(Debug)]
struct ErrorFormat {
    format_str: &'static str,
    format_trait: &'static str,
}

static ERROR_FORMATS: &[ErrorFormat] = &[
    ErrorFormat {
        format_str: "{}",
        format_trait: "std::fmt::Display",
    },
    ErrorFormat {
        format_str: "{:?}",
        format_trait: "std::fmt::Debug",
    },
    ErrorFormat {
        format_str: "{:#?}",
        format_trait: "std::fmt::Debug",
    },
];

const GET_TYPE_NAME_DEF: &str = stringify!(
    /// Shorten a type name. Convert "core::option::Option<alloc::string::String>" into "Option<String>".
    pub fn evcxr_shorten_type(t: &str) -> String {
        // This could have been done easily with regex, but we must only depend on stdlib.
        // We go over the string backwards, and remove all alphanumeric and ':' chars following a ':'.
        let mut r = String::with_capacity(t.len());
        let mut is_skipping = false;
        for c in t.chars().rev() {
            if !is_skipping {
                if c == ':' {
                    is_skipping = true;
                } else {
                    r.push(c);
                }
            } else {
                if !c.is_alphanumeric() && c != '_' && c != ':' {
                    is_skipping = false;
                    r.push(c);
                }
            }
        }
        r.chars().rev().collect()
    }

    fn evcxr_get_type_name<T>(_: &T) -> String {
        evcxr_shorten_type(std::any::type_name::<T>())
    }
);

/// `dbg!` for cells. That of the standard library names a place in the generated code.
const DBG_MACRO: &str = r#"
macro_rules! dbg {
    () => { eprintln!("[cell]") };
    ($value:expr $(,)?) => {
        match $value {
            value => {
                eprintln!("[cell] {} = {:#?}", ::std::stringify!($value), &value);
                value
            }
        }
    };
    ($($value:expr),+ $(,)?) => { ($(dbg!($value)),+,) };
}
"#;

const PANIC_NOTIFICATION: &str = "EVCXR_PANIC_NOTIFICATION";

// Outputs from an EvalContext. This is a separate struct since users may want
// destructure this and pass its components to separate threads.
pub struct EvalContextOutputs {
    pub stdout: crossbeam_channel::Receiver<String>,
    pub stderr: crossbeam_channel::Receiver<String>,
}

#[non_exhaustive]
#[derive(Debug, Clone)]
pub struct InputRequest {
    pub prompt: String,
    pub is_password: bool,
}

pub struct EvalCallbacks<'a> {
    pub input_reader: &'a dyn Fn(InputRequest) -> String,
}

fn default_input_reader(_: InputRequest) -> String {
    String::new()
}

impl Default for EvalCallbacks<'_> {
    fn default() -> Self {
        EvalCallbacks {
            input_reader: &default_input_reader,
        }
    }
}

impl EvalContext {
    pub fn new() -> Result<(EvalContext, EvalContextOutputs), Error> {
        fix_path();

        let current_exe = std::env::current_exe()?;
        Self::with_subprocess_command(std::process::Command::new(current_exe))
    }

    fn apply_platform_specific_vars(config: &Config, command: &mut std::process::Command) {
        if cfg!(not(windows)) {
            return;
        }
        // Windows doesn't support rpath, so we need to set PATH so that it
        // knows where to find dlls.
        let mut path_var_value = OsString::new();
        path_var_value.push(config.deps_dir());
        path_var_value.push(";");

        let mut sysroot_command = std::process::Command::new("rustc");
        sysroot_command.arg("--print").arg("sysroot");
        path_var_value.push(format!(
            "{}\\bin;",
            String::from_utf8_lossy(&sysroot_command.output().unwrap().stdout).trim()
        ));
        path_var_value.push(std::env::var("PATH").unwrap_or_default());

        command.env("PATH", path_var_value);
    }

    #[doc(hidden)]
    pub fn new_for_testing() -> (EvalContext, EvalContextOutputs) {
        let testing_runtime_path = std::env::current_exe()
            .unwrap()
            .parent()
            .unwrap()
            .parent()
            .unwrap()
            .join("testing_runtime");
        Self::new_for_testing_with_runtime(testing_runtime_path)
    }

    #[doc(hidden)]
    pub fn new_for_testing_with_runtime(
        testing_runtime_path: impl AsRef<std::ffi::OsStr>,
    ) -> (EvalContext, EvalContextOutputs) {
        let (mut context, outputs) =
            EvalContext::with_subprocess_command(std::process::Command::new(testing_runtime_path))
                .unwrap();
        let mut state = context.state();
        state.set_offline_mode(true);
        context.commit_state(state);
        (context, outputs)
    }

    pub fn with_subprocess_command(
        mut subprocess_command: std::process::Command,
    ) -> Result<(EvalContext, EvalContextOutputs), Error> {
        let parsed_config = toml_parse::ConfigToml::find_then_parse()?;
        let tmpdir_var = parsed_config.get_tmp_dir()?;
        let tmpdir_path = tmpdir_var.get_path()?;
        let opt_tmpdir = tmpdir_var.get_opt_tmpdir();
        let analyzer = RustAnalyzer::new(&tmpdir_path)?;
        let module = Module::new()?;
        let mut initial_config =
            create_initial_config(tmpdir_path, subprocess_command.get_program().into())?;
        parsed_config.update_config(&mut initial_config)?;
        Self::apply_platform_specific_vars(&initial_config, &mut subprocess_command);

        let (stdout_sender, stdout_receiver) = crossbeam_channel::unbounded();
        let (stderr_sender, stderr_receiver) = crossbeam_channel::unbounded();
        let child_process = ChildProcess::new(subprocess_command, stderr_sender)?;
        let initial_state = ContextState::new(initial_config.clone());
        let mut context = EvalContext {
            _tmpdir: opt_tmpdir,
            analysis: Analysis::new(analyzer, initial_state.clone()),
            committed_state: initial_state,
            module,
            child_process,
            stdout_sender,
            runs: 0,
            last_value: None,
            last_code: CodeBlock::new(),
            initial_config,
        };
        let outputs = EvalContextOutputs {
            stdout: stdout_receiver,
            stderr: stderr_receiver,
        };
        context
            .module
            .write_runtime_crate(&context.committed_state.config)?;
        if context.committed_state.linker() == "lld" && context.eval("42").is_err() {
            context.committed_state.set_linker("system".to_owned());
        }
        // rust-analyzer asks cargo about the crate, so its manifest must be there before a cell is.
        context.write_cargo_toml(&context.committed_state)?;
        context.initial_config = context.committed_state.config.clone();
        Ok((context, outputs))
    }

    /// Returns a new context state, suitable for passing to `eval` after
    /// optionally calling things like `add_dep`.
    pub fn state(&self) -> ContextState {
        self.committed_state.clone()
    }

    /// Evaluates the supplied Rust code.
    pub fn eval(&mut self, code: &str) -> Result<EvalOutputs, Error> {
        self.eval_with_state(code, self.state())
    }

    pub fn eval_with_state(
        &mut self,
        code: &str,
        state: ContextState,
    ) -> Result<EvalOutputs, Error> {
        let (user_code, code_info) = CodeBlock::from_original_user_code(code);
        self.eval_with_callbacks(user_code, state, &code_info, &mut EvalCallbacks::default())
    }

    pub(crate) fn check(
        &mut self,
        user_code: CodeBlock,
        mut state: ContextState,
        code_info: &UserCodeInfo,
    ) -> Result<Vec<CompilationError>, Error> {
        state.config.display_final_expression = false;
        state.config.expand_use_statements = false;
        let user_code = state.apply(user_code, &code_info.nodes)?;
        let code = state.analysis_code(user_code.clone(), false);
        let errors = self.module.check(&code, &state.config)?;
        Ok(state.apply_custom_errors(errors, &user_code, code_info))
    }

    /// Evaluates the supplied Rust code.
    pub(crate) fn eval_with_callbacks(
        &mut self,
        user_code: CodeBlock,
        mut state: ContextState,
        code_info: &UserCodeInfo,
        callbacks: &mut EvalCallbacks,
    ) -> Result<EvalOutputs, Error> {
        if user_code.is_empty()
            && !self
                .committed_state
                .state_change_can_fail_compilation(&state)
        {
            self.commit_state(state);
            return Ok(EvalOutputs::default());
        }
        if user_code.words().contains("extern") {
            // Cargo is asked about the dependencies that there are, not about those of a cell that
            // failed.
            self.write_cargo_toml(&self.committed_state)?;
        }
        let mut phases = PhaseDetailsBuilder::new();
        let code_out = state.apply(user_code.clone(), &code_info.nodes)?;

        let mut outputs = match self.run_statements(code_out, &mut state, &mut phases, callbacks) {
            error @ Err(Error::SubprocessTerminated(_)) => {
                self.restart_child_process()?;
                return error;
            }
            Err(Error::CompilationErrors(errors)) => {
                let mut errors = state.apply_custom_errors(errors, &user_code, code_info);
                // If we have any errors in user code then remove all errors that aren't from user
                // code.
                if errors.iter().any(|error| error.is_from_user_code()) {
                    errors.retain(|error| error.is_from_user_code())
                }
                return Err(Error::CompilationErrors(errors));
            }
            error @ Err(_) => return error,
            Ok(x) => x,
        };

        // Once, we reach here, our code has successfully executed, so we
        // conclude that variable changes are now applied.
        self.commit_state(state);

        phases.phase_complete("Execution");
        outputs.phases = phases.phases;

        Ok(outputs)
    }

    pub(crate) fn completions(
        &mut self,
        user_code: CodeBlock,
        mut state: ContextState,
        nodes: &[SyntaxNode],
        offset: usize,
    ) -> Result<Completions> {
        let code = state.code_to_complete(user_code, nodes)?;
        let wrapped_offset = code.user_offset_to_output_offset(offset)?;

        if state.config.debug_mode {
            let mut s = code.code_string();
            s.insert_str(wrapped_offset, "<|>");
            println!("=========\n{s}\n==========");
        }

        self.analysis
            .completions_in(&code, wrapped_offset, &state.cargo_toml())
    }

    pub fn hover(&mut self, code: &str, state: &mut ContextState) -> Result<(String, String)> {
        self.write_cargo_toml(state)?;
        let manifest = state.cargo_toml();
        let hover = self.analysis.hover_in(code, state, Some(&manifest))?;
        Ok(hover.unwrap_or_else(|| {
            (
                "No documentation found".into(),
                "No documentation found".into(),
            )
        }))
    }

    /// Returns what answers questions about code, also while a cell runs.
    pub fn analysis(&self) -> Analysis {
        self.analysis.clone()
    }

    /// Sets whether the values of the next cells become the last value (`LAST`).
    pub fn set_keeps_last(&mut self, keeps: bool) {
        self.committed_state.config.keeps_last = keeps;
    }

    /// Returns whether there is a last value.
    pub fn has_last(&self) -> bool {
        self.committed_state.variable_states.contains_key(LAST)
    }

    /// Sets the name of the next cell. Threads of that cell say it with what they print.
    pub fn set_cell_name(&mut self, name: &str) {
        name.clone_into(&mut self.committed_state.config.cell_name);
    }

    /// Returns how often code was run. A cell may run none, or run its code twice because the type of
    /// a variable was redefined.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Returns the line of the user's code, counted from 1, for a line of the code that was compiled
    /// last. Returns None if that line is not the user's.
    pub fn user_line(&self, line: usize) -> Option<usize> {
        match self.last_code.origin_for_line(line) {
            (CodeKind::OriginalUserCode(meta), offset) => Some(meta.start_line + offset),
            _ => None,
        }
    }

    /// Builds the code that all cells need, so that the first cell finds it built.
    pub fn build_runtime(&mut self) -> Result<(), Error> {
        self.module
            .compile(&CodeBlock::new(), &self.committed_state.config)
            .map(drop)
    }

    /// Sets what receives the lines in which cargo says what it does about dependencies, while they
    /// are added and built. By default, those about compilation are written to standard error.
    pub fn set_progress(&mut self, progress: Arc<dyn Fn(&str) + Send + Sync>) {
        self.committed_state.config.progress = Progress(progress);
    }

    pub fn last_source(&self) -> Result<String, std::io::Error> {
        std::fs::read_to_string(self.state().config.src_dir().join("lib.rs"))
    }

    pub fn set_opt_level(&mut self, level: &str) -> Result<(), Error> {
        self.committed_state.set_opt_level(level)
    }

    pub fn set_time_passes(&mut self, value: bool) {
        self.committed_state.set_time_passes(value);
    }

    pub fn set_preserve_vars_on_panic(&mut self, value: bool) {
        self.committed_state.set_preserve_vars_on_panic(value);
    }

    pub fn set_error_format(&mut self, value: &str) -> Result<(), Error> {
        self.committed_state.set_error_format(value)
    }

    pub fn variables_and_types(&self) -> impl Iterator<Item = (&str, &str)> {
        self.committed_state
            .variable_states
            .iter()
            .filter(|(name, _)| *name != LAST)
            .map(|(v, t)| (v.as_str(), t.type_name.as_str()))
    }

    pub fn defined_item_names(&self) -> impl Iterator<Item = &str> {
        self.committed_state
            .items_by_name
            .keys()
            .map(String::as_str)
    }

    /// Returns the items that cells have defined: the name of each, and its source.
    pub fn items(&self) -> impl Iterator<Item = (&str, String)> {
        self.committed_state
            .items_by_name
            .iter()
            .map(|(name, code)| (name.as_str(), code.code_string()))
    }

    /// Returns the dependencies: the name of each, and what stands behind `name = ` in Cargo.toml.
    pub fn dependencies(&self) -> impl Iterator<Item = (&str, &str)> {
        self.committed_state
            .external_deps
            .values()
            .map(|dep| (dep.name.as_str(), dep.config.as_str()))
    }

    /// Forgets a variable or an item. Returns whether there was one of that name. The value of a
    /// variable is dropped when the child process ends.
    pub fn forget(&mut self, name: &str) -> bool {
        let state = &mut self.committed_state;
        let variable = state.variable_states.remove(name);
        state.stored_variable_states.remove(name);
        let item = state.items_by_name.remove(name);
        self.analysis.commit(&self.committed_state);
        variable.is_some() || item.is_some()
    }

    // Clears all state, while keeping tmpdir. This allows us to effectively
    // restart, but without having to recompile any external crates we'd already
    // compiled. Config is preserved.
    pub fn clear(&mut self) -> Result<(), Error> {
        self.committed_state = self.cleared_state();
        self.restart_child_process()
    }

    /// Returns the state that would result from clearing. Config is preserved. Nothing is done to
    /// the subprocess.
    pub(crate) fn cleared_state(&self) -> ContextState {
        ContextState::new(self.committed_state.config.clone())
    }

    pub fn reset_config(&mut self) {
        self.committed_state.config = self.initial_config.clone();
    }

    pub fn process_handle(&self) -> Arc<Mutex<std::process::Child>> {
        self.child_process.process_handle()
    }

    /// Sets or removes (None) an environment variable for child processes that are started later. The
    /// process that runs cells now keeps its environment.
    pub fn set_environment(&mut self, name: &str, value: Option<&str>) {
        self.child_process.set_environment(name, value);
    }

    pub(crate) fn restart_child_process(&mut self) -> Result<(), Error> {
        self.committed_state.variable_states.clear();
        self.committed_state.stored_variable_states.clear();
        self.analysis.commit(&self.committed_state);
        self.child_process = self.child_process.restart()?;
        Ok(())
    }

    pub(crate) fn last_compile_dir(&self) -> &Path {
        self.committed_state.config.crate_dir()
    }

    fn commit_state(&mut self, mut state: ContextState) {
        for variable_state in state.variable_states.values_mut() {
            // This span only makes sense when the variable is first defined.
            variable_state.definition_span = None;
        }
        state
            .stored_variable_states
            .clone_from(&state.variable_states);
        state.commit_old_user_code();
        let dependencies_changed = state.external_deps != self.committed_state.external_deps;
        self.committed_state = state;
        self.analysis.commit(&self.committed_state);
        if dependencies_changed && self.analysis.is_warm() {
            // Questions about the dependencies find them read.
            self.analysis
                .start(String::new(), self.committed_state.cargo_toml());
        }
    }

    fn run_statements(
        &mut self,
        mut user_code: CodeBlock,
        state: &mut ContextState,
        phases: &mut PhaseDetailsBuilder,
        callbacks: &mut EvalCallbacks,
    ) -> Result<EvalOutputs, Error> {
        self.write_cargo_toml(state)?;
        if user_code.words().contains(LAST) {
            self.name_last(state)?;
        }
        let start_analysis = |analysis: &Analysis, state: &ContextState, code: &CodeBlock| {
            let code = state.analysis_code(code.clone(), true).code_string();
            analysis.start(code, state.cargo_toml())
        };
        // rust-analyzer is rarely needed for types of the standard library and of cells. If there are
        // other crates, it looks at the code while the compiler does.
        let fallback = user_code.fallback();
        let may_display_itself = fallback.is_some() && state.may_display_itself(&user_code);
        let may_need_analyzer =
            may_display_itself || (state.has_new_variables() && !state.external_deps.is_empty());
        let mut findings =
            may_need_analyzer.then(|| start_analysis(&self.analysis, state, &user_code));
        let mut received = None;
        let without_display = user_code.without_display();
        if let Some(fallback) = fallback {
            let displays_itself = if !may_display_itself {
                Some(false)
            } else if user_code.fallback_words().contains("evcxr_display") {
                // The compiler sees a method that is defined within the code, rust-analyzer does not.
                None
            } else {
                received = findings
                    .as_ref()
                    .and_then(|findings| findings.recv_timeout(MAX_WAIT_FOR_DISPLAY).ok());
                received
                    .as_ref()
                    .and_then(|findings: &Findings| findings.displays_itself)
            };
            if displays_itself == Some(false) {
                user_code.apply_fallback(&fallback);
            }
        }
        // In some circumstances we may need a few tries before we get the code right. Note that
        // we'll generally give up sooner than this if there's nothing left that we think we can
        // fix. The limit is really to prevent retrying indefinitely in case our "fixing" of things
        // somehow ends up flip-flopping back and forth. Not sure how that could happen, but best to
        // avoid any infinite loops.
        let mut remaining_retries = 5;
        // TODO: Now that we have rust analyzer, we can probably with a bit of work obtain all the
        // information we need without relying on compilation errors. See if we can get rid of this.
        loop {
            // Try to compile and run the code.
            let result = self.try_run_statements(
                user_code.clone(),
                state,
                state.compilation_mode(),
                phases,
                callbacks,
            );
            match result {
                Ok(execution_artifacts) => {
                    let mut output = execution_artifacts.output;
                    output.not_kept.append(&mut state.not_kept);
                    let wait_for_findings = |state: &ContextState| {
                        received.take().unwrap_or_else(|| {
                            findings
                                .take()
                                .unwrap_or_else(|| {
                                    start_analysis(&self.analysis, state, &user_code)
                                })
                                .recv()
                                .unwrap_or_default()
                        })
                    };
                    let analysis = self.analysis.clone();
                    let public_path = |path: &str| analysis.public_path(path);
                    output
                        .not_kept
                        .extend(state.name_types(wait_for_findings, public_path));
                    if state.last_is_new_and_unnamed() {
                        self.last_value = Some(start_analysis(&self.analysis, state, &user_code));
                    }
                    return Ok(output);
                }

                Err(Error::CompilationErrors(errors)) => {
                    // If we failed to compile, attempt to deal with the first
                    // round of compilation errors by adjusting variable types,
                    // whether they've been moved into the catch_unwind block
                    // etc.
                    if remaining_retries > 0 {
                        let mut fixed = HashSet::new();
                        for error in &errors {
                            self.attempt_to_fix_error(error, &mut user_code, state, &mut fixed)?;
                        }
                        if !fixed.is_empty() {
                            remaining_retries -= 1;
                            let fixed_sorted: Vec<_> = fixed.into_iter().collect();
                            phases.phase_complete(&fixed_sorted.join("|"));
                            continue;
                        }
                    }
                    if let Some(mut code) = without_display
                        && errors.iter().all(CompilationError::is_about_display)
                    {
                        code.remove_pack_variable(LAST);
                        // Errors in the code itself come first. If there are none, this one names the
                        // value.
                        let value = code
                            .segments
                            .iter()
                            .rev()
                            .find(|segment| matches!(segment.kind, CodeKind::OriginalUserCode(_)))
                            .cloned();
                        self.try_run_statements(
                            code,
                            state,
                            CompilationMode::NoCatchExpectError,
                            phases,
                            callbacks,
                        )?;
                        if let Some(error) =
                            value.and_then(|value| errors.first()?.about_value(&value))
                        {
                            return Err(Error::CompilationErrors(vec![error]));
                        }
                    }
                    if !user_code.is_empty() {
                        // We have user code and it appears to have an error, recompile without
                        // catch_unwind to try and get a better error message. e.g. we don't want the
                        // user to see messages like "cannot borrow immutable captured outer variable in
                        // an `FnOnce` closure `a` as mutable".
                        self.try_run_statements(
                            user_code,
                            state,
                            CompilationMode::NoCatchExpectError,
                            phases,
                            callbacks,
                        )?;
                    }
                    return Err(Error::CompilationErrors(errors));
                }

                Err(Error::TypeRedefinedVariablesLost(variables)) => {
                    for variable in &variables {
                        state.variable_states.remove(variable);
                        state.stored_variable_states.remove(variable);
                        self.committed_state.variable_states.remove(variable);
                        self.committed_state.stored_variable_states.remove(variable);
                    }
                    remaining_retries -= 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Finds a name for the type of the last value, for a cell that mentions it.
    fn name_last(&mut self, state: &mut ContextState) -> Result<(), Error> {
        let Some(last) = state.stored_variable_states.get(LAST) else {
            return Ok(());
        };
        if !last.type_name.is_empty() {
            return Ok(());
        }
        let findings = self
            .last_value
            .take()
            .and_then(|findings| findings.recv().ok())
            .unwrap_or_default();
        let found = match findings.variables.get(KEPT).map(|info| &info.type_name) {
            Some(TypeName::Named(found)) if !found.contains("impl ") => {
                Some(replace_reserved_words_in_type(found))
            }
            Some(TypeName::Named(_) | TypeName::Closure) => None,
            Some(TypeName::Unknown) | None => type_names::as_code_with(
                &last.type_at_run_time,
                |_| false,
                |path| self.analysis.public_path(path),
            ),
        };
        let Some(type_name) = found else {
            bail!(
                "`_` cannot be had: its type ({}) could not be written as code. Bind the value with \
                 `let`.",
                last.type_at_run_time
            );
        };
        let last = state.variable_states.get_mut(LAST);
        if let Some(last) = last.filter(|last| last.move_state == VariableMoveState::Available) {
            last.type_name.clone_from(&type_name);
        }
        let committed = &mut self.committed_state;
        for states in [
            &mut state.stored_variable_states,
            &mut committed.variable_states,
            &mut committed.stored_variable_states,
        ] {
            if let Some(last) = states.get_mut(LAST) {
                last.type_name.clone_from(&type_name);
            }
        }
        Ok(())
    }

    fn try_run_statements(
        &mut self,
        user_code: CodeBlock,
        state: &mut ContextState,
        compilation_mode: CompilationMode,
        phases: &mut PhaseDetailsBuilder,
        callbacks: &mut EvalCallbacks,
    ) -> Result<ExecutionArtifacts, Error> {
        let code = state.code_to_compile(user_code, compilation_mode);
        let (so_file, warnings) = self.module.compile(&code, &state.config)?;
        self.last_code = code;

        if compilation_mode == CompilationMode::NoCatchExpectError {
            // Uh-oh, caller was expecting an error, return OK and the caller can return the
            // original error.
            return Ok(ExecutionArtifacts {
                output: EvalOutputs::new(),
            });
        }
        phases.phase_complete("Final compile");

        let mut output = self.run_and_capture_output(state, &so_file, callbacks)?;
        output.warnings = warnings;
        Ok(ExecutionArtifacts { output })
    }

    pub(crate) fn write_cargo_toml(&self, state: &ContextState) -> Result<()> {
        self.module.write_cargo_toml(state)?;
        self.module.write_config_toml(state)?;
        Ok(())
    }

    fn run_and_capture_output(
        &mut self,
        state: &mut ContextState,
        so_file: &SoFile,
        callbacks: &mut EvalCallbacks,
    ) -> Result<EvalOutputs, Error> {
        let mut output = EvalOutputs::new();
        // TODO: We should probably send an OsString not a String. Otherwise
        // things won't work if the path isn't UTF-8 - apparently that's a thing
        // on some platforms.
        let fn_name = state.current_user_fn_name();
        self.child_process.send(&format!(
            "LOAD_AND_RUN {} {}",
            so_file.path.to_string_lossy(),
            fn_name,
        ))?;

        self.runs += 1;
        state.build_num += 1;

        let mut got_panic = false;
        let mut lost_variables = Vec::new();
        static MIME_OUTPUT: Lazy<Regex> =
            Lazy::new(|| Regex::new("EVCXR_BEGIN_CONTENT ([^ ]+)").unwrap());
        loop {
            let line = self.child_process.recv_line()?;
            if line == runtime::EVCXR_EXECUTION_COMPLETE {
                break;
            }
            if line == PANIC_NOTIFICATION {
                got_panic = true;
                output.panicked = true;
            } else if let Some(how) = line.strip_prefix(runtime::RESTORED) {
                output.restored = Some(how.trim().to_owned());
            } else if let Some(times) = line.strip_prefix(runtime::TIMES) {
                output.times = times
                    .split_whitespace()
                    .filter_map(|nanoseconds| nanoseconds.parse().ok())
                    .map(Duration::from_nanos)
                    .collect();
            } else if let Some(text) = line.strip_prefix(evcxr_report::VALUE) {
                output
                    .content_by_mime_type
                    .insert("text/plain".to_owned(), evcxr_report::unescaped(text));
            } else if line.starts_with(evcxr_input::GET_CMD) {
                let is_password = line.starts_with(evcxr_input::GET_CMD_PASSWORD);
                let prompt = line.split(':').nth(1).unwrap_or_default().to_owned();
                self.child_process
                    .send(&(callbacks.input_reader)(InputRequest {
                        prompt,
                        is_password,
                    }))?;
            } else if let Some(error) = line.strip_prefix(evcxr_report::USER_ERROR_OCCURRED) {
                // A question mark operator in user code triggered an early
                // return. Any newly defined variables won't have been stored.
                let (line, text) = error.split_once(' ').unwrap_or_default();
                let line = line.parse().ok().and_then(|line| self.user_line(line));
                output.user_error = Some((evcxr_report::unescaped(text), line));
                state.restore_last();
                state
                    .variable_states
                    .retain(|_variable_name, variable_state| {
                        variable_state.move_state != VariableMoveState::New
                    });
            } else if let Some(variable_name) =
                line.strip_prefix(evcxr_internal_runtime::VARIABLE_CHANGED_TYPE)
            {
                lost_variables.push(variable_name.to_owned());
            } else if let Some((name, type_name)) = line
                .strip_prefix(evcxr_internal_runtime::VARIABLE_TYPE)
                .and_then(|line| line.split_once(':'))
            {
                if let Some(variable_state) = state.variable_states.get_mut(name) {
                    type_name.clone_into(&mut variable_state.type_at_run_time);
                }
            } else if let Some(captures) = MIME_OUTPUT.captures(&line) {
                let mime_type = captures[1].to_owned();
                let mut content = String::new();
                loop {
                    let line = self.child_process.recv_line()?;
                    if line == "EVCXR_END_CONTENT" {
                        break;
                    }
                    if line == PANIC_NOTIFICATION {
                        got_panic = true;
                        break;
                    }
                    if !content.is_empty() {
                        content.push('\n');
                    }
                    content.push_str(&line);
                }
                output.content_by_mime_type.insert(mime_type, content);
            } else {
                // Note, errors sending are ignored, since it just means the
                // user of the library has dropped the Receiver.
                let _ = self.stdout_sender.send(line);
            }
        }
        if output.restored.is_some() {
            state
                .variable_states
                .clone_from(&state.stored_variable_states);
            return Ok(output);
        }
        if got_panic {
            state.restore_last();
            state
                .variable_states
                .retain(|_variable_name, variable_state| {
                    variable_state.move_state != VariableMoveState::New
                });
        } else if !lost_variables.is_empty() {
            return Err(Error::TypeRedefinedVariablesLost(lost_variables));
        }

        // Block until stdout_sender is empty with exponential backoff
        let mut sleep_duration = Duration::from_millis(1);
        while !self.stdout_sender.is_empty() {
            std::thread::sleep(sleep_duration);
            sleep_duration = std::cmp::min(sleep_duration * 2, Duration::from_millis(100));
        }

        Ok(output)
    }

    fn attempt_to_fix_error(
        &mut self,
        error: &CompilationError,
        user_code: &mut CodeBlock,
        state: &mut ContextState,
        fixed_errors: &mut HashSet<&'static str>,
    ) -> Result<(), Error> {
        let keeps_last = |origin: &CodeKind| matches!(origin, CodeKind::PackVariable { variable_name } if variable_name == LAST);
        if error.code_origins.iter().any(keeps_last) {
            // The value borrows from something, or displaying it consumes it. It is displayed, but does
            // not become the last value.
            user_code.remove_pack_variable(LAST);
            state.restore_last();
            fixed_errors.insert("Last value");
            return Ok(());
        }
        let is_stored = |origin: &CodeKind| matches!(origin, CodeKind::PackVariable { .. });
        if matches!(error.code(), Some("E0597" | "E0716" | "E0373"))
            && error.needs_static()
            && !error.code_origins.iter().any(is_stored)
            && state.end_what_statement_defines(error, user_code)
        {
            fixed_errors.insert("Reference");
            return Ok(());
        }
        if error.code() == Some("E0505") && error.needs_static() && !fixed_errors.is_empty() {
            // What borrows may be among what was mended.
            return Ok(());
        }
        for code_origin in &error.code_origins {
            match code_origin {
                CodeKind::PackVariable { variable_name }
                    if variable_name == OLD_LAST && !state.last_is_moved =>
                {
                    state.last_is_moved = true;
                    fixed_errors.insert("Last value moved");
                }
                CodeKind::PackVariable { variable_name } => {
                    if error.code() == Some("E0382") {
                        // Use of moved value.
                        state.variable_states.remove(variable_name);
                        state.ended.retain(|(name, _)| name != variable_name);
                        fixed_errors.insert("Captured value");
                    } else if error.code() == Some("E0425") {
                        // cannot find value in scope.
                        state.variable_states.remove(variable_name);
                        fixed_errors.insert("Variable moved");
                    } else if matches!(
                        error.code(),
                        Some("E0597" | "E0716" | "E0521" | "E0373" | "E0505" | "E0503" | "E0713")
                    ) {
                        // A variable borrows from something that ends with the code, or that is
                        // itself stored.
                        let others_ended = fixed_errors.contains("Reference");
                        if state.end_borrower(error, variable_name, others_ended) {
                            fixed_errors.insert("Reference");
                        }
                    } else if error.code() == Some("E0603") {
                        if let Some(variable_state) = state.variable_states.remove(variable_name) {
                            bail!(
                                "Failed to determine type of variable `{}`. rustc suggested type \
                             {}, but that's private. Sometimes adding an extern crate will help \
                             rustc suggest the correct public type name, or you can give an \
                             explicit type.",
                                variable_name,
                                variable_state.type_name
                            );
                        }
                    } else if error.code() == Some("E0562")
                        || (error.code().is_none() && error.code_origins.len() == 1)
                    {
                        return non_persistable_type_error(
                            variable_name,
                            &state.variable_states[variable_name].type_name,
                        );
                    }
                }
                // If other code is involved, it is that code which is wrong, for example because it
                // moves the variable.
                CodeKind::LoadVariable { variable_name }
                    if error
                        .code_origins
                        .iter()
                        .all(|origin| matches!(origin, CodeKind::LoadVariable { .. })) =>
                {
                    if state.stored_variable_states.remove(variable_name).is_some() {
                        state.variable_states.remove(variable_name);
                        state
                            .not_kept
                            .push((variable_name.clone(), error.message()));
                        fixed_errors.insert("Variable cannot be loaded");
                    }
                }
                CodeKind::WithFallback(fallback) => {
                    user_code.apply_fallback(fallback);
                    fixed_errors.insert("Fallback");
                }
                CodeKind::OriginalUserCode(_) | CodeKind::OtherUserCode => {
                    if error.code() == Some("E0728") && !state.async_mode {
                        state.async_mode = true;
                        if !state.external_deps.contains_key("tokio") {
                            state.add_dep(
                                "tokio",
                                "{version=\"1.34.0\", features=[\"rt\", \"rt-multi-thread\"]}",
                            )?;
                            // Rewrite Cargo.toml, since the dependency will probably have been
                            // validated in the process of being added, which will have overwritten
                            // Cargo.toml
                            self.write_cargo_toml(state)?;
                        }
                        fixed_errors.insert("Enabled async mode");
                    } else if error.code() == Some("E0277") && !state.allow_question_mark {
                        state.allow_question_mark = true;
                        fixed_errors.insert("Allow question mark");
                    } else if error.code() == Some("E0658")
                        && error
                            .message()
                            .contains("`let` expressions in this position are experimental")
                    {
                        // PR to add a semicolon is welcome. Ideally we'd not do so here though. It
                        // should really be done based on the parse tree of the code. We currently
                        // have two parsers, syn and rust-analyzer. We'd like to eventually get rid
                        // of syn and just user rust-analyzer, but the code that could potentially
                        // add a semicolon currently uses syn. So ideally we'd replace uses of syn
                        // with rust-analyzer before adding new parse-tree based rules. But PRs that
                        // just use syn to determine when to add a semicolon would also be OK.
                        bail!("Looks like you're missing a semicolon");
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Why a variable is not kept that borrows from its own cell.
const HOLDS_A_REFERENCE: &str = "it holds a reference to something that ends with the cell. Keep what \
    owns the data (`to_string()`, `to_vec()`, `clone()`), or use it in this cell";

fn non_persistable_type_error(variable_name: &str, actual_type: &str) -> Result<(), Error> {
    bail!(
        "The variable `{}` has type `{}` which cannot be persisted.\n\
             You might be able to fix this by creating a `Box<dyn YourType>`. e.g.\n\
             let v: Box<dyn core::fmt::Debug> = Box::new(foo());\n\
             Alternatively, you can prevent evcxr from attempting to persist\n\
             the variable by wrapping your code in braces.",
        variable_name,
        actual_type
    );
}

fn fix_path() {
    // If cargo isn't on our path, see if it exists in the same directory as
    // our executable and if it does, add that directory to our PATH.
    if which::which("cargo").is_err()
        && let Ok(current_exe) = std::env::current_exe()
        && let Some(bin_dir) = current_exe.parent()
        && bin_dir.join("cargo").exists()
        && let Some(mut path) = std::env::var_os("PATH")
    {
        if cfg!(windows) {
            path.push(";");
        } else {
            path.push(":");
        }
        path.push(bin_dir);
        // Safety: We probably aren't doing stuff on other threads while we do this.
        // Is that good enough? Probably not really. TODO: Investigate alternatives.
        // Perhaps we can set PATH on our build commands instead.
        unsafe { std::env::set_var("PATH", path) };
    }
}

/// Returns whether a type is fully specified. i.e. it doesn't contain any '_'.
fn type_is_fully_specified(ty: &ast::Type) -> bool {
    !AstNode::syntax(ty)
        .descendants()
        .any(|n| n.kind() == SyntaxKind::INFER_TYPE)
}

#[derive(Debug)]
pub struct PhaseDetails {
    pub name: String,
    pub duration: Duration,
}

struct PhaseDetailsBuilder {
    start: Instant,
    phases: Vec<PhaseDetails>,
}

impl PhaseDetailsBuilder {
    fn new() -> PhaseDetailsBuilder {
        PhaseDetailsBuilder {
            start: Instant::now(),
            phases: Vec::new(),
        }
    }

    fn phase_complete(&mut self, name: &str) {
        let new_start = Instant::now();
        self.phases.push(PhaseDetails {
            name: name.to_owned(),
            duration: new_start.duration_since(self.start),
        });
        self.start = new_start;
    }
}

#[derive(Default, Debug)]
pub struct EvalOutputs {
    pub content_by_mime_type: HashMap<String, String>,
    /// The error that a `?` met, if the code ended with one, and its line in the user's code.
    pub user_error: Option<(String, Option<usize>)>,
    /// Whether the code ended with a panic.
    pub panicked: bool,
    /// How the process that ran the code ended, if another one in which all variables are as before
    /// has taken its place.
    pub restored: Option<String>,
    /// How long the code ran: wall clock, processor time of the user, and processor time of the
    /// system. Empty if the child process does not report it.
    pub times: Vec<Duration>,
    /// The compiler's warnings about the code of this cell.
    pub warnings: Vec<CompilationError>,
    /// Variables that later cells do not have, each with the reason.
    pub not_kept: Vec<(String, String)>,
    pub timing: Option<Duration>,
    pub phases: Vec<PhaseDetails>,
}

impl EvalOutputs {
    pub fn new() -> EvalOutputs {
        EvalOutputs::default()
    }

    pub fn text_html(text: String, html: String) -> EvalOutputs {
        let mut out = EvalOutputs::new();
        out.content_by_mime_type
            .insert("text/plain".to_owned(), text);
        out.content_by_mime_type
            .insert("text/html".to_owned(), html);
        out
    }

    pub fn is_empty(&self) -> bool {
        self.content_by_mime_type.is_empty()
    }

    pub fn get(&self, mime_type: &str) -> Option<&str> {
        self.content_by_mime_type.get(mime_type).map(String::as_str)
    }

    pub fn merge(&mut self, mut other: EvalOutputs) {
        for (mime_type, content) in other.content_by_mime_type {
            self.content_by_mime_type
                .entry(mime_type)
                .or_default()
                .push_str(&content);
        }
        self.user_error = self.user_error.take().or(other.user_error);
        self.panicked |= other.panicked;
        self.restored = self.restored.take().or(other.restored);
        if !other.times.is_empty() {
            self.times = other.times;
        }
        self.warnings.append(&mut other.warnings);
        self.not_kept.append(&mut other.not_kept);
        self.timing = match (self.timing.take(), other.timing) {
            (Some(t1), Some(t2)) => Some(t1 + t2),
            (t1, t2) => t1.or(t2),
        };
        self.phases.append(&mut other.phases);
    }
}

#[derive(Clone, Debug)]
struct VariableState {
    /// The type as code names it. Empty until it is known.
    type_name: String,
    /// The type as `std::any::type_name` names it. Empty until the code has run.
    type_at_run_time: String,
    /// Whether the value is a function, which is stored as a pointer to it.
    is_function: bool,
    is_mut: bool,
    move_state: VariableMoveState,
    definition_span: Option<UserCodeSpan>,
}

#[derive(Clone, Debug)]
struct UserCodeSpan {
    segment_index: usize,
    range: TextRange,
}

#[derive(PartialEq, Eq, Debug, Copy, Clone)]
enum VariableMoveState {
    New,
    Available,
}

struct ExecutionArtifacts {
    output: EvalOutputs,
}

#[derive(Eq, PartialEq, Copy, Clone)]
enum CompilationMode {
    /// User code should be wrapped in catch_unwind and executed.
    RunAndCatchPanics,
    /// User code should be executed without a catch_unwind.
    NoCatch,
    /// Recompile without catch_unwind to try to get better error messages. If compilation succeeds
    /// (hopefully can't happen), don't run the code - caller should return the original message.
    NoCatchExpectError,
}

/// State that is cloned then modified every time we try to compile some code. If compilation
/// succeeds, we keep the modified state, if it fails, we revert to the old state.
#[derive(Clone, Debug)]
pub struct ContextState {
    items_by_name: HashMap<String, CodeBlock>,
    unnamed_items: Vec<CodeBlock>,
    pub(crate) external_deps: HashMap<String, ExternalCrate>,
    // Keyed by crate name. Could use a set, except that the statement might be
    // formatted slightly differently.
    extern_crate_stmts: HashMap<String, String>,
    /// States of variables. Includes variables that have just been defined by
    /// the code about to be executed.
    variable_states: HashMap<String, VariableState>,
    /// State of variables that have been stored. i.e. after the last bit of
    /// code was executed. Doesn't include newly defined variables until after
    /// execution completes.
    stored_variable_states: HashMap<String, VariableState>,
    /// Variables that were dropped while the code was compiled, each with the reason.
    not_kept: Vec<(String, String)>,
    /// New variables that are not kept because they borrow from others, each with its place in the
    /// code. They end before the variables are stored from which they borrow.
    ended: Vec<(String, (usize, u32))>,
    attributes: HashMap<String, CodeBlock>,
    async_mode: bool,
    allow_question_mark: bool,
    /// Whether the code moves the last value of before.
    last_is_moved: bool,
    build_num: i32,
    pub(crate) config: Config,
}

impl ContextState {
    fn new(config: Config) -> ContextState {
        ContextState {
            items_by_name: HashMap::new(),
            unnamed_items: vec![],
            external_deps: HashMap::new(),
            extern_crate_stmts: HashMap::new(),
            variable_states: HashMap::new(),
            stored_variable_states: HashMap::new(),
            not_kept: Vec::new(),
            ended: Vec::new(),
            attributes: HashMap::new(),
            async_mode: false,
            allow_question_mark: false,
            last_is_moved: false,
            build_num: 0,
            config,
        }
    }

    pub fn time_passes(&self) -> bool {
        self.config.time_passes
    }

    pub fn set_time_passes(&mut self, value: bool) {
        self.config.time_passes = value;
    }

    pub fn set_offline_mode(&mut self, value: bool) {
        self.config.offline_mode = value;
    }

    pub fn set_allow_static_linking(&mut self, value: bool) {
        self.config.allow_static_linking = value;
    }

    pub fn set_sccache(&mut self, enabled: bool) -> Result<(), Error> {
        self.config.set_sccache(enabled)
    }

    pub fn set_cache_bytes(&mut self, bytes: u64) {
        self.config.set_cache_bytes(bytes)
    }

    pub fn cache_bytes(&mut self) -> u64 {
        self.config.cache_bytes()
    }

    pub fn sccache(&self) -> bool {
        self.config.sccache()
    }

    pub fn set_error_format(&mut self, format_str: &str) -> Result<(), Error> {
        for format in ERROR_FORMATS {
            if format.format_str == format_str {
                self.config.error_fmt = format;
                return Ok(());
            }
        }
        bail!(
            "Unsupported error format string. Available options: {}",
            ERROR_FORMATS
                .iter()
                .map(|f| f.format_str)
                .collect::<Vec<_>>()
                .join(", ")
        );
    }

    pub fn error_format(&self) -> &str {
        self.config.error_fmt.format_str
    }

    pub fn error_format_trait(&self) -> &str {
        self.config.error_fmt.format_trait
    }

    pub fn set_linker(&mut self, linker: String) {
        self.config.linker = linker;
    }

    pub fn linker(&self) -> &str {
        &self.config.linker
    }

    pub fn set_codegen_backend(&mut self, value: String) {
        self.config.codegen_backend = if value == "default" {
            None
        } else {
            Some(value)
        };
    }

    pub fn codegen_backend(&mut self) -> &str {
        self.config.codegen_backend.as_deref().unwrap_or("default")
    }

    pub fn preserve_vars_on_panic(&self) -> bool {
        self.config.preserve_vars_on_panic
    }

    pub fn offline_mode(&self) -> bool {
        self.config.offline_mode
    }

    pub fn set_preserve_vars_on_panic(&mut self, value: bool) {
        self.config.preserve_vars_on_panic = value;
    }

    pub fn debug_mode(&self) -> bool {
        self.config.debug_mode
    }

    pub fn set_debug_mode(&mut self, debug_mode: bool) {
        self.config.debug_mode = debug_mode;
    }

    pub fn opt_level(&self) -> &str {
        &self.config.opt_level
    }

    pub fn set_opt_level(&mut self, level: &str) -> Result<(), Error> {
        if level.is_empty() {
            bail!("Optimization level cannot be an empty string");
        }
        level.clone_into(&mut self.config.opt_level);
        Ok(())
    }
    pub fn output_format(&self) -> &str {
        &self.config.output_format
    }

    pub fn set_output_format(&mut self, output_format: String) {
        self.config.output_format = output_format;
    }

    pub fn display_types(&self) -> bool {
        self.config.display_types
    }

    pub fn set_display_types(&mut self, display_types: bool) {
        self.config.display_types = display_types;
    }

    pub fn set_toolchain(&mut self, value: &str) -> Result<()> {
        if let Some(rustc_path) = rustup_tool_path(Some(value), "rustc") {
            self.config.core_extern = core_extern(&rustc_path)?;
            self.config.rustc_path = rustc_path;
        }
        if let Some(cargo_path) = rustup_tool_path(Some(value), "cargo") {
            self.config.cargo_path = cargo_path;
        }
        value.clone_into(&mut self.config.toolchain);
        Ok(())
    }

    pub fn set_build_env(&mut self, key: &str, value: &str) {
        self.config
            .build_envs
            .insert(key.to_owned(), value.to_owned());
    }

    pub fn toolchain(&mut self) -> &str {
        &self.config.toolchain
    }

    /// Adds a crate dependency with the specified name and configuration.
    pub fn add_dep(&mut self, dep: &str, dep_config: &str) -> Result<(), Error> {
        // Avoid repeating dep validation once we're already added it.
        if let Some(existing) = self.external_deps.get(dep)
            && existing.config == dep_config
        {
            return Ok(());
        }
        let external = ExternalCrate::new(dep.to_owned(), dep_config.to_owned())?;
        crate::cargo_metadata::validate_dep(&external.name, &external.config, &self.config)?;
        self.external_deps.insert(dep.to_owned(), external);
        Ok(())
    }

    /// Adds a crate dependency at the specified local path
    pub fn add_local_dep(&mut self, dep: &str) -> Result<(), Error> {
        let name = cargo_metadata::parse_crate_name(dep)?;
        self.add_dep(&name, &format!("{{ path = \"{dep}\" }}"))
    }

    /// Clears fields that aren't useful for inclusion in bug reports and which might give away
    /// things like usernames.
    pub(crate) fn clear_non_debug_relevant_fields(&mut self) {
        self.config.tmpdir = PathBuf::from("redacted");
        if self.config.sccache.is_some() {
            self.config.sccache = Some(PathBuf::from("redacted"));
        }
    }

    fn apply_custom_errors(
        &self,
        errors: Vec<CompilationError>,
        user_code: &CodeBlock,
        code_info: &UserCodeInfo,
    ) -> Vec<CompilationError> {
        errors
            .into_iter()
            .filter_map(|error| self.customize_error(error, user_code))
            .map(|mut error| {
                error.fill_lines(code_info);
                error
            })
            .collect()
    }

    /// Customizes errors based on their origins.
    fn customize_error(
        &self,
        error: CompilationError,
        user_code: &CodeBlock,
    ) -> Option<CompilationError> {
        for origin in &error.code_origins {
            if let CodeKind::PackVariable { variable_name } = origin
                && let Some(variable_state) = self.variable_states.get(variable_name)
                && let Some(definition_span) = &variable_state.definition_span
                && let Some(segment) = user_code.segment_with_index(definition_span.segment_index)
                && let Some(span) = Span::from_segment(segment, definition_span.range)
            {
                return self.replacement_for_pack_variable_error(
                    variable_name,
                    span,
                    segment,
                    &error,
                );
            }
        }
        Some(error)
    }

    fn replacement_for_pack_variable_error(
        &self,
        variable_name: &str,
        variable_span: Span,
        segment: &Segment,
        error: &CompilationError,
    ) -> Option<CompilationError> {
        let message = match error.code().unwrap_or("") {
            "E0382" | "E0505" => {
                // Value used after move. When we go to execute the code, we'll detect this error and
                // remove the variable so it doesn't get stored.
                return None;
            }
            "E0597" => {
                format!(
                    "The variable `{variable_name}` contains a reference with a non-static lifetime so\n\
                    can't be persisted. You can prevent this error by making sure that the\n\
                    variable goes out of scope - i.e. wrapping the code in {{}}."
                )
            }
            _ => {
                return Some(error.clone());
            }
        };
        Some(CompilationError::from_segment_span(
            segment,
            SpannedMessage::from_segment_span(segment, variable_span),
            message,
        ))
    }

    /// Returns whether transitioning to `new_state` might cause compilation
    /// failures. e.g. if `new_state` has extra dependencies, then we must
    /// return true. If we return false, we're saying that the proposed state
    /// change cannot cause compilation failures, so compilation can be skipped
    /// if there is otherwise no code to execute.
    fn state_change_can_fail_compilation(&self, new_state: &ContextState) -> bool {
        (self.extern_crate_stmts != new_state.extern_crate_stmts
            && !new_state.extern_crate_stmts.is_empty())
            || (self.external_deps != new_state.external_deps
                && !new_state.external_deps.is_empty())
            || (self.items_by_name != new_state.items_by_name
                && !new_state.items_by_name.is_empty())
            || (self.config.sccache != new_state.config.sccache)
    }

    pub(crate) fn format_cargo_deps(&self) -> String {
        self.external_deps
            .values()
            .map(|krate| format!("{} = {}\n", krate.name, krate.config))
            .collect::<Vec<_>>()
            .join("")
    }

    fn compilation_mode(&self) -> CompilationMode {
        if self.config.preserve_vars_on_panic {
            CompilationMode::RunAndCatchPanics
        } else {
            CompilationMode::NoCatch
        }
    }

    /// Returns code suitable for analysis purposes. Doesn't attempt to preserve runtime behaviour.
    /// If `only_mentioned`, variables that `user_code` does not mention are left out.
    fn analysis_code(&self, user_code: CodeBlock, only_mentioned: bool) -> CodeBlock {
        let words = only_mentioned.then(|| user_code.words());
        let mut code = CodeBlock::new()
            .generated("#![allow(unused_imports, unused_macros, unused_mut, dead_code, uncommon_codepoints)]")
            .add_all(self.attributes_code())
            .add_all(self.items_code())
            .add_all(self.error_trait_code(true))
            .generated("fn evcxr_variable_store<T: 'static>(_: T) {}")
            .generated("#[allow(unused_variables)]")
            .generated(format!("async fn {WRAPPER}("));
        let is_shown = |name: &String| words.as_ref().is_none_or(|words| words.contains(name));
        for (var_name, state) in &self.stored_variable_states {
            if !is_shown(var_name) || state.type_name.is_empty() {
                continue;
            }
            code = code.generated(format!(
                "{}{}: {},",
                if state.is_mut { "mut " } else { "" },
                var_name,
                state.type_name
            ));
        }
        code = code
            .generated(") -> Result<(), EvcxrUserCodeError> {")
            .add_all(user_code);

        // Pack variable statements in analysis mode are a lot simpler than in compiled mode. We
        // just call a function that enforces that the variable doesn't contain any non-static
        // lifetimes.
        for var_name in self.variable_states.keys().filter(|name| *name != LAST) {
            code.pack_variable(
                var_name.clone(),
                format!("evcxr_variable_store({var_name});"),
            );
        }

        code = code.generated("Ok(())").generated("}");
        code
    }

    /// Returns the code in what it can see around it, to ask questions about it.
    pub(crate) fn code_to_complete(
        &mut self,
        user_code: CodeBlock,
        nodes: &[SyntaxNode],
    ) -> Result<CodeBlock, Error> {
        // Wrapping the final expression in order to display it might interfere
        // with completions on that final expression.
        self.config.display_final_expression = false;
        // Expanding use statements would prevent us from tab-completing those
        // use statements, since we lose information about where each bit came
        // from when we expand. This could be fixed with some work, but there's
        // not really any downside to turn it off here. It'll produce errors,
        // but those errors don't effect the analysis needed for completions.
        self.config.expand_use_statements = false;
        let user_code = self.apply(user_code, nodes)?;
        Ok(self.analysis_code(user_code, false))
    }

    /// Returns what Cargo.toml holds when code is compiled.
    pub(crate) fn cargo_toml(&self) -> String {
        Module::cargo_toml_contents(self)
    }

    /// Returns the variables and items, each with "variable" or "item".
    pub(crate) fn names(&self) -> Vec<(String, &'static str)> {
        let variables = self.variable_states.keys().filter(|name| *name != LAST);
        let items = self.items_by_name.keys();
        variables
            .map(|name| (name.clone(), "variable"))
            .chain(items.map(|name| (name.clone(), "item")))
            .collect()
    }

    /// Makes the last value what it was, unless the code moved it, because the code brought none.
    fn restore_last(&mut self) {
        if !self.last_is_new() {
            return;
        }
        let stored = self.stored_variable_states.get(LAST);
        match stored.filter(|_| !self.last_is_moved).cloned() {
            Some(stored) => {
                let stored = VariableState {
                    move_state: VariableMoveState::Available,
                    ..stored
                };
                self.variable_states.insert(LAST.to_owned(), stored);
            }
            None => drop(self.variable_states.remove(LAST)),
        }
    }

    /// Does not keep the variable that borrows, of which an error about storing `stored` tells. If that
    /// variable is not known, because it is a temporary value or its name was given to another one,
    /// `stored` is not kept. `others_ended` says that another error of the same build made such a
    /// variable end. Returns whether the code changes.
    fn end_borrower(&mut self, error: &CompilationError, stored: &str, others_ended: bool) -> bool {
        let names_owner = matches!(error.code(), Some("E0505" | "E0503"));
        if names_owner && error.message().split('`').nth(1) != Some(stored) {
            return false;
        }
        let borrower = if names_owner {
            error
                .borrowers()
                .into_iter()
                .find(|name| name != stored && self.variable_states.contains_key(name))
        } else {
            Some(stored.to_owned())
        };
        let has_ended = |name: &String| self.ended.iter().any(|(ended, _)| ended == name);
        if borrower.is_none() && others_ended && error.borrowers().iter().any(has_ended) {
            return false;
        }
        let (name, reason) = match borrower {
            Some(name) => (name, HOLDS_A_REFERENCE),
            None => (
                stored.to_owned(),
                "something in this cell still borrows from it when the cell ends. Put the borrow \
                 into braces, `{ … }`, so that it ends before",
            ),
        };
        self.end_variable(&name, reason)
    }

    /// Does not keep the variables of the statement that an error is about, as that of
    /// `let f: Box<dyn Fn()> = Box::new(|| show(&local));`. Returns whether the code changes.
    fn end_what_statement_defines(&mut self, error: &CompilationError, code: &CodeBlock) -> bool {
        let Some(place) = error
            .primary_spanned_message()
            .and_then(|message| message.span)
        else {
            return false;
        };
        let start = |span: Span| (span.start_line, span.start_column);
        let is_there = |variable: &VariableState| {
            let segment = variable
                .definition_span
                .as_ref()
                .and_then(|span| code.segment_with_index(span.segment_index));
            let whole = segment.and_then(|segment| {
                let range = TextRange::up_to(TextSize::of(segment.code.as_str()));
                Span::from_segment(segment, range)
            });
            whole.is_some_and(|whole| {
                let end = (whole.end_line, whole.end_column);
                (start(whole)..end).contains(&start(place))
            })
        };
        let is_new = |variable: &VariableState| variable.move_state == VariableMoveState::New;
        let borrowers: Vec<String> = self
            .variable_states
            .iter()
            .filter(|(name, variable)| *name != LAST && is_new(variable) && is_there(variable))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &borrowers {
            self.end_variable(name, HOLDS_A_REFERENCE);
        }
        !borrowers.is_empty()
    }

    /// Does not keep a variable, for a reason. Returns whether there was such a variable.
    fn end_variable(&mut self, name: &str, reason: &str) -> bool {
        let Some(variable) = self.variable_states.remove(name) else {
            return false;
        };
        self.not_kept.push((name.to_owned(), reason.to_owned()));
        if let Some(span) = &variable.definition_span {
            let place = (span.segment_index, u32::from(span.range.start()));
            self.ended.push((name.to_owned(), place));
        }
        true
    }

    /// Returns whether the code brings a last value.
    fn last_is_new(&self) -> bool {
        self.variable_states
            .get(LAST)
            .is_some_and(|last| last.move_state == VariableMoveState::New)
    }

    /// Returns whether the code brought a last value whose type has no name yet.
    fn last_is_new_and_unnamed(&self) -> bool {
        self.last_is_new() && self.variable_states[LAST].type_name.is_empty()
    }

    /// Finds names for the types of new variables once the code has run. Variables whose types have
    /// no name are removed and returned, each with the reason. `wait_for_findings` is called if
    /// rust-analyzer is needed. `public_path` finds the path by which code can name a type.
    fn name_types(
        &mut self,
        wait_for_findings: impl FnOnce(&ContextState) -> Findings,
        public_path: impl Fn(&str) -> Option<(String, usize)>,
    ) -> Vec<(String, String)> {
        let has_no_value = |last: &VariableState| last.type_at_run_time.is_empty();
        if self.variable_states.get(LAST).is_some_and(has_no_value) {
            self.restore_last();
        }
        let mut not_kept = Vec::new();
        self.variable_states.retain(|name, variable| {
            let is_stored = !variable.type_at_run_time.is_empty();
            if !is_stored {
                let reason = "the cell returned before its end";
                not_kept.push((name.clone(), reason.to_owned()));
            }
            is_stored
        });
        let is_own = |name: &str| {
            let definition = self.items_by_name.get(name).map(CodeBlock::code_string);
            definition.is_some_and(|code| {
                ["struct", "enum", "union"]
                    .iter()
                    .any(|kind| code.contains(&format!("{kind} {name}")))
            })
        };
        if let Some(last) = self.variable_states.get_mut(LAST)
            && last.type_name.is_empty()
        {
            last.type_name =
                type_names::as_code(&last.type_at_run_time, is_own).unwrap_or_default();
        }
        let mut names: HashMap<String, Option<String>> = self
            .variable_states
            .iter()
            .filter(|(name, variable)| *name != LAST && variable.type_name.is_empty())
            .map(|(name, variable)| {
                let type_name = type_names::as_code(&variable.type_at_run_time, is_own);
                (name.clone(), type_name)
            })
            .collect();
        if names.values().any(Option::is_none) {
            let findings = wait_for_findings(self);
            for (name, type_name) in names.iter_mut().filter(|(_, name)| name.is_none()) {
                match findings.variables.get(name).map(|info| &info.type_name) {
                    // The value is the function itself, whose type has no name.
                    Some(TypeName::Named(found))
                        if is_pointer_type(found)
                            && !is_pointer_type(&self.variable_states[name].type_at_run_time) =>
                    {
                        not_kept.push((
                            name.clone(),
                            format!(
                                "it is a function, whose type has no name. Write the type of a \
                                 pointer to it: let {name}: {found} = …;"
                            ),
                        ));
                    }
                    // The type of what never returns, as of a task that loops for ever.
                    Some(TypeName::Named(found)) if found.contains('!') => not_kept.push((
                        name.clone(),
                        format!(
                            "its type contains `!`, which code cannot name. Write the type with `()` \
                             in the place of `!`: let {name}: {} = …;",
                            found.replace('!', "()")
                        ),
                    )),
                    Some(TypeName::Named(found)) if !found.contains("impl ") => {
                        // For now, we need to look for and escape any reserved words. This should
                        // probably in theory be done in rust analyzer in a less hacky way.
                        *type_name = Some(replace_reserved_words_in_type(found));
                    }
                    // What a procedural macro makes is known at run time only.
                    Some(TypeName::Unknown) | None => {
                        let at_run_time = &self.variable_states[name].type_at_run_time;
                        *type_name = type_names::as_code_with(at_run_time, is_own, &public_path);
                    }
                    Some(TypeName::Named(_) | TypeName::Closure) => not_kept.push((
                        name.clone(),
                        "its type has no name, as that of a closure. Put it into a box: \
                         let f: Box<dyn Fn(i32) -> i32> = Box::new(…);"
                            .to_owned(),
                    )),
                }
                let is_told = not_kept.iter().any(|(told, _)| told == name);
                if type_name.is_none() && !is_told {
                    not_kept.push((
                        name.clone(),
                        format!(
                            "its type ({}) could not be written as code. Write the type: let \
                             {name}: … = …;",
                            self.variable_states[name].type_at_run_time
                        ),
                    ));
                }
            }
        }
        for (name, type_name) in names {
            match (type_name, self.variable_states.get_mut(&name)) {
                (Some(type_name), Some(variable)) => variable.type_name = type_name,
                _ => drop(self.variable_states.remove(&name)),
            }
        }
        not_kept
    }

    fn code_to_compile(
        &self,
        user_code: CodeBlock,
        compilation_mode: CompilationMode,
    ) -> CodeBlock {
        let mut code = CodeBlock::new()
            .generated("#![allow(unused_imports, unused_macros, unused_mut, dead_code, uncommon_codepoints)]")
            .add_all(self.attributes_code())
            .generated(self.print_macros())
            .generated(DBG_MACRO)
            .add_all(self.items_code());
        let has_user_code = !user_code.is_empty();
        if has_user_code {
            code = code.add_all(self.wrap_user_code(user_code, compilation_mode));
        } else {
            // TODO: Add a mechanism to load a crate without any function to call then remove this.
            code = code
                .generated("#[unsafe(no_mangle)]")
                .generated(format!(
                    "pub extern \"C\" fn {}(",
                    self.current_user_fn_name()
                ))
                .generated("mut x: *mut std::os::raw::c_void) -> *mut std::os::raw::c_void {x}");
        }
        code
    }

    /// Returns macros in the place of those of the standard library. What they print is written at once,
    /// and says the name of the cell if another thread than the cell's prints it.
    fn print_macros(&self) -> String {
        let cell = &self.config.cell_name;
        ["", "e"]
            .map(|e| {
                let print = format!("::{RUNTIME_CRATE_NAME}::evcxr_report::{e}print");
                format!(
                    r#"
macro_rules! {e}print {{
    ($($arg:tt)*) => {{ {print}(::std::format_args!($($arg)*), {cell:?}) }};
}}
macro_rules! {e}println {{
    () => {{ {print}(::std::format_args!("\n"), {cell:?}) }};
    ($($arg:tt)*) => {{
        {print}(::std::format_args!("{{}}\n", ::std::format_args!($($arg)*)), {cell:?})
    }};
}}
"#
                )
            })
            .concat()
    }

    fn items_code(&self) -> CodeBlock {
        let mut code = CodeBlock::new().add_all(self.get_imports());
        // A macro must stand before what calls it.
        let defines_macro = |block: &&CodeBlock| {
            let mut segments = block.segments.iter();
            segments.any(|segment| segment.code.contains("macro_rules!"))
        };
        let items = self.items_by_name.values().chain(self.unnamed_items.iter());
        let (macros, others): (Vec<&CodeBlock>, Vec<&CodeBlock>) = items.partition(defines_macro);
        for item in macros.into_iter().chain(others) {
            code = code.add_all(item.clone());
        }
        code
    }

    fn attributes_code(&self) -> CodeBlock {
        let mut code = CodeBlock::new();
        for attrib in self.attributes.values() {
            code = code.add_all(attrib.clone());
        }
        code
    }

    fn error_trait_code(&self, for_analysis: bool) -> CodeBlock {
        CodeBlock::new().generated(format!(
            r#"
            struct EvcxrUserCodeError {{}}
            impl<T: {}> From<T> for EvcxrUserCodeError {{
                #[track_caller]
                fn from(error: T) -> Self {{
                    {}
                    EvcxrUserCodeError {{}}
                }}
            }}
        "#,
            self.config.error_fmt.format_trait,
            if for_analysis {
                String::new()
            } else {
                format!(
                    "::{RUNTIME_CRATE_NAME}::evcxr_report::user_error(&format!(\"{}\", error), \
                     std::panic::Location::caller().line());",
                    self.config.error_fmt.format_str
                )
            }
        ))
    }

    fn wrap_user_code(
        &self,
        mut user_code: CodeBlock,
        compilation_mode: CompilationMode,
    ) -> CodeBlock {
        let words = user_code.words();
        let needs_variable_store = self.has_new_variables()
            || self.last_is_new()
            || self
                .variable_states
                .keys()
                .chain(self.stored_variable_states.keys())
                .any(|name| words.contains(name))
            || self.async_mode
            || self.allow_question_mark;
        let mut code = CodeBlock::new();
        if self.allow_question_mark {
            code = code.add_all(self.error_trait_code(false));
        }
        if needs_variable_store {
            code = code.generated(format!(
                "use ::{RUNTIME_CRATE_NAME}::evcxr_internal_runtime;"
            ));
        }
        code = code.generated("#[unsafe(no_mangle)]").generated(format!(
            "pub extern \"C\" fn {}(",
            self.current_user_fn_name()
        ));
        if needs_variable_store {
            code = code
                .generated("mut evcxr_variable_store: *mut evcxr_internal_runtime::VariableStore)")
                .generated("  -> *mut evcxr_internal_runtime::VariableStore {")
                .generated("if evcxr_variable_store.is_null() {")
                .generated(
                    "  evcxr_variable_store = evcxr_internal_runtime::create_variable_store();",
                )
                .generated("}")
                .generated("let evcxr_variable_store = unsafe {&mut *evcxr_variable_store};")
                .add_all(self.check_variable_statements(&words))
                .add_all(self.load_variable_statements(&words));
            user_code =
                user_code.add_all(self.store_variable_statements(VariableMoveState::New, &words));
        } else {
            code = code.generated("evcxr_variable_store: *mut u8) -> *mut u8 {");
        }
        code = code
            .generated(format!("::{RUNTIME_CRATE_NAME}::evcxr_report::begin();"))
            .generated("let (mut evcxr_panicked, mut evcxr_failed) = (false, false);");
        if self.async_mode {
            user_code = CodeBlock::new()
                .generated(format!(
                    "let mut mutex = evcxr_variable_store.lazy_arc({:?}, || \
                     std::sync::Mutex::new(tokio::runtime::Runtime::new().unwrap()));",
                    self.runtime_name()
                ))
                .generated(stringify!(
                // If a previous cell execution did panic, then the mutex may be poisoned.
                // `block_on` of tokio 0.2 needs a mutable runtime.
                let mut evcxr_runtime = match mutex.lock() {
                    Ok(guard) => guard,
                    Err(poisoned) => poisoned.into_inner(),
                };
                ))
                .generated(if self.allow_question_mark {
                    "evcxr_failed = evcxr_runtime.block_on(async {"
                } else {
                    "evcxr_runtime.block_on(async {"
                })
                .add_all(user_code);
            if self.allow_question_mark {
                user_code = CodeBlock::new()
                    .add_all(user_code)
                    .generated("Ok::<(), EvcxrUserCodeError>(())");
            }
            user_code = user_code.generated(if self.allow_question_mark {
                "}).is_err();"
            } else {
                "});"
            })
        } else if self.allow_question_mark {
            user_code = CodeBlock::new()
                .generated("evcxr_failed = (|| -> std::result::Result<(), EvcxrUserCodeError> {")
                .add_all(user_code)
                .generated("Ok(())})().is_err();");
        }
        if compilation_mode == CompilationMode::RunAndCatchPanics {
            if needs_variable_store {
                code = code
                    .generated("match std::panic::catch_unwind(")
                    .generated("  std::panic::AssertUnwindSafe(||{")
                    .add_all(user_code)
                    // Return our local variable store from the closure to be merged back into the
                    // main variable store.
                    .generated("})) { ")
                    .generated("  Ok(_) => {}")
                    .generated("  Err(_) => evcxr_panicked = true,")
                    .generated("}");
            } else {
                code = code
                    .generated("if std::panic::catch_unwind(||{")
                    .add_all(user_code)
                    .generated("}).is_err() {")
                    .generated("    evcxr_panicked = true;")
                    .generated("}");
            }
        } else {
            code = code.add_all(user_code);
        }
        if needs_variable_store {
            code = code
                .add_all(self.store_variable_statements(VariableMoveState::Available, &words))
                .add_all(self.store_last_statements(&words))
                .generated(
                    "let evcxr_variable_store: *mut evcxr_internal_runtime::VariableStore = \
                     evcxr_variable_store;",
                );
        }
        // The process that runs the code is told of a panic, or of a `?` that met an error, by the lowest
        // bit of the pointer, which is never set because of the alignment.
        code.generated(format!("::{RUNTIME_CRATE_NAME}::evcxr_report::flush();"))
            .generated(
                "evcxr_variable_store\
                 .map_addr(|address| address | usize::from(evcxr_panicked || evcxr_failed))",
            )
            .generated("}")
    }

    /// Returns code that stores variables. An earlier variable that the code does not mention
    /// (`words` are those of the code) was not loaded and stays where it is.
    fn store_variable_statements(
        &self,
        move_state: VariableMoveState,
        words: &HashSet<String>,
    ) -> CodeBlock {
        let mut statements = CodeBlock::new();
        if move_state == VariableMoveState::New {
            // The variable that was defined last may borrow from those before it.
            let mut ended: Vec<_> = self.ended.iter().collect();
            ended.sort_by_key(|(_, place)| std::cmp::Reverse(*place));
            for (name, _) in ended {
                statements.pack_variable(name.clone(), format!("{{ let _ended = {name}; }}"));
            }
        }
        for (var_name, var_state) in &self.variable_states {
            // A new last value is stored where it is displayed.
            if var_name == LAST && move_state == VariableMoveState::New {
                continue;
            }
            let is_loaded = move_state == VariableMoveState::New || words.contains(var_name);
            if var_state.move_state == move_state && is_loaded {
                // Note, we use stringify instead of quoting ourselves since it results in
                // better errors if the user forgets to close a double-quote in their code.
                let statement = match move_state {
                    VariableMoveState::New if var_state.is_function => format!(
                        "evcxr_variable_store.put_new_variable::<{}>(stringify!({var_name}), {var_name});",
                        var_state.type_name
                    ),
                    VariableMoveState::New => format!(
                        "evcxr_variable_store.put_new_variable(stringify!({var_name}), {var_name});"
                    ),
                    VariableMoveState::Available => format!(
                        "evcxr_variable_store.put_variable::<{}>(stringify!({var_name}), {var_name});",
                        var_state.type_name
                    ),
                };
                statements.pack_variable(var_name.clone(), statement);
            }
        }
        statements
    }

    /// Returns code that puts back the last value of before, and then replaces it if there is a new one.
    fn store_last_statements(&self, words: &HashSet<String>) -> CodeBlock {
        let mut statements = CodeBlock::new();
        if !self.last_is_new() {
            return statements;
        }
        let stored = self.stored_variable_states.get(LAST);
        if let Some(stored) = stored.filter(|_| words.contains(LAST) && !self.last_is_moved) {
            statements.pack_variable(
                OLD_LAST.to_owned(),
                format!(
                    "evcxr_variable_store.put_variable::<{}>({LAST:?}, {LAST});",
                    stored.type_name
                ),
            );
        }
        statements.generated(format!("evcxr_variable_store.settle_last({LAST:?});"))
    }

    fn check_variable_statements(&self, words: &HashSet<String>) -> CodeBlock {
        let mut statements = CodeBlock::new().generated("{let mut vars_ok = true;");
        for (var_name, var_state) in self.mentioned_variables(words) {
            statements.load_variable(
                var_name,
                format!(
                    "vars_ok &= evcxr_variable_store.check_variable::<{}>(stringify!({var_name}));",
                    var_state.type_name
                ),
            );
        }
        statements.generated("if !vars_ok {return evcxr_variable_store;}}")
    }

    // Returns code to load values from the variable store back into their variables.
    fn load_variable_statements(&self, words: &HashSet<String>) -> CodeBlock {
        let mut statements = CodeBlock::new();
        for (var_name, var_state) in self.mentioned_variables(words) {
            let mutability = if var_state.is_mut { "mut " } else { "" };
            statements.load_variable(
                var_name,
                format!(
                    "let {}{} = evcxr_variable_store.take_variable::<{}>(stringify!({}));",
                    mutability, var_name, var_state.type_name, var_name
                ),
            );
        }
        statements
    }

    /// Returns the stored variables whose names are among `words`.
    fn mentioned_variables(
        &self,
        words: &HashSet<String>,
    ) -> impl Iterator<Item = (&String, &VariableState)> {
        self.stored_variable_states
            .iter()
            .filter(|(name, _)| words.contains(*name))
    }

    /// Returns whether the value of the code may have a method `evcxr_display`. Nothing in the standard
    /// library has one, so the code would have to mention a crate, or something from a cell that
    /// mentions the method or a crate.
    fn may_display_itself(&self, user_code: &CodeBlock) -> bool {
        let words = user_code.fallback_words();
        let type_names = self
            .stored_variable_states
            .iter()
            .filter(|(name, _)| words.contains(*name))
            .map(|(_, variable)| variable.type_name.clone());
        let items = self
            .items_by_name
            .values()
            .chain(&self.unnamed_items)
            .map(CodeBlock::code_string);
        let around = type_names.chain(items).collect::<Vec<_>>().join("\n");
        let words_around = code_block::words(&around);
        let is_mentioned = |name: &str| words.contains(name) || words_around.contains(name);
        is_mentioned("evcxr_display")
            || !self.extern_crate_stmts.is_empty()
            || self
                .external_deps
                .values()
                .any(|dep| is_mentioned(&dep.name.replace('-', "_")))
    }

    fn has_new_variables(&self) -> bool {
        self.variable_states
            .iter()
            .any(|(name, variable)| name != LAST && variable.move_state == VariableMoveState::New)
    }

    /// Returns under which name the runtime of tokio is kept for cells that await.
    ///
    /// Each cell is linked with a tokio of its own. The locks of `parking_lot` keep their waiting threads
    /// in a static, so that a thread of one cell would never wake that of another: with this feature,
    /// each cell has a runtime of its own. That of an earlier cell goes on with the tasks it has.
    fn runtime_name(&self) -> String {
        let config = self
            .external_deps
            .get("tokio")
            .map_or("", |tokio| tokio.config.as_str());
        if config.contains("\"full\"") || config.contains("\"parking_lot\"") {
            format!("evcxr_tokio_runtime_{}", self.build_num)
        } else {
            "evcxr_tokio_runtime".to_owned()
        }
    }

    fn current_user_fn_name(&self) -> String {
        format!("run_user_code_{}", self.build_num)
    }

    fn get_imports(&self) -> CodeBlock {
        let mut extern_stmts = CodeBlock::new();
        for stmt in self.extern_crate_stmts.values() {
            extern_stmts = extern_stmts.other_user_code(stmt.clone());
        }
        extern_stmts
    }

    /// Converts OriginalUserCode to OtherUserCode. OriginalUserCode can only be
    /// used for the current code that's being evaluated, otherwise things like
    /// tab completion will be confused, since there will be multiple bits of
    /// code at a particular offset.
    fn commit_old_user_code(&mut self) {
        for block in self.items_by_name.values_mut() {
            block.commit_old_user_code();
        }
        for block in self.unnamed_items.iter_mut() {
            block.commit_old_user_code();
        }
        for block in self.attributes.values_mut() {
            block.commit_old_user_code();
        }
    }

    /// Applies `user_code` to this state object, returning the updated user
    /// code. Things like use-statements will be removed from the returned code,
    /// as they will have been stored in `self`.
    fn apply(&mut self, user_code: CodeBlock, nodes: &[SyntaxNode]) -> Result<CodeBlock, Error> {
        for variable_state in self.variable_states.values_mut() {
            variable_state.move_state = VariableMoveState::Available;
        }

        self.last_is_moved = false;
        self.ended.clear();
        self.not_kept.clear();
        let mut code_out = CodeBlock::new();
        let mut previous_item_name = None;
        let mut items_of_cell = HashSet::new();
        let mut changed_types = HashSet::new();
        let mut named_values = Vec::new();
        let num_statements = user_code.segments.len();
        for (statement_index, segment) in user_code.segments.into_iter().enumerate() {
            let node = if let CodeKind::OriginalUserCode(meta) = &segment.kind {
                &nodes[meta.node_index]
            } else {
                code_out = code_out.with_segment(segment);
                continue;
            };
            if let Some(let_stmt) = ast::LetStmt::cast(node.clone()) {
                if let Some(ast::Pat::IdentPat(name)) = let_stmt.pat() {
                    if let Some(ast::Expr::PathExpr(value)) = let_stmt.initializer()
                        && let Some(name) = ast::HasName::name(&name)
                    {
                        named_values
                            .push((name.text().to_string(), value.syntax().text().to_string()));
                    }
                    // A whole pattern that is a name is always a variable, also with a capital.
                    self.record_local(name, let_stmt.ty(), &segment, node.text_range());
                    code_out = code_out.with_segment(segment);
                } else if let Some(pat) = let_stmt.pat() {
                    self.record_new_locals(pat, let_stmt.ty(), &segment, node.text_range());
                    code_out = code_out.with_segment(segment);
                }
            } else if ast::Attr::can_cast(node.kind()) {
                self.attributes.insert(
                    node.text().to_string(),
                    CodeBlock::new().with_segment(segment),
                );
            } else if let Some(name) = self.item_macro(node) {
                self.items_by_name
                    .insert(name, item::macro_as_item(node, segment));
            } else if ast::Expr::can_cast(node.kind()) {
                if statement_index == num_statements - 1 {
                    if self.config.display_final_expression {
                        let format = &self.config.output_format;
                        let report = format!("::{RUNTIME_CRATE_NAME}::evcxr_report");
                        // The value is bound by a `match`, so that temporaries live as long as it. A
                        // value that is kept is bound itself, so that it can be stored once it was
                        // displayed.
                        let is_kept = self.config.keeps_last && last_value::makes_a_value(node);
                        let (open, name, reference) = if is_kept {
                            ("match (", KEPT, format!("&{KEPT}"))
                        } else {
                            ("match &(", "evcxr_value", "evcxr_value".to_owned())
                        };
                        let binding = if is_kept {
                            format!("mut {name}")
                        } else {
                            name.to_owned()
                        };
                        let with_value = |display: CodeBlock| {
                            CodeBlock::new()
                                .generated(open)
                                .with_segment(segment.clone())
                                .generated(format!(") {{ {binding} => {{"))
                                .add_all(display)
                        };
                        let as_text = if self.config.display_types {
                            CodeBlock::new().generated(format!(
                                "{GET_TYPE_NAME_DEF} {report}::value(::std::format_args!(\": {{}} = {format}\", \
                                 evcxr_get_type_name({reference}), {name}));"
                            ))
                        } else {
                            CodeBlock::new().generated(format!(
                                "{report}::value(::std::format_args!(\"{format}\", {name}));"
                            ))
                        };
                        // First we try calling .evcxr_display(). If that fails, we try debug format.
                        let displayed = CodeBlock::new().generated(format!(
                            "{report}::value_follows(); {name}.evcxr_display();"
                        ));
                        code_out = code_out.code_with_fallback(
                            with_value(displayed).code_string(),
                            with_value(as_text),
                        );
                        if is_kept {
                            let new = VariableState {
                                type_name: String::new(),
                                type_at_run_time: String::new(),
                                is_function: false,
                                is_mut: true,
                                move_state: VariableMoveState::New,
                                definition_span: None,
                            };
                            self.variable_states.insert(LAST.to_owned(), new);
                            code_out.pack_variable(
                                LAST.to_owned(),
                                format!("evcxr_variable_store.put_last({LAST:?}, {KEPT});"),
                            );
                        }
                        code_out = code_out.generated("}}");
                    } else {
                        code_out = code_out
                            .generated("let _ = ")
                            .with_segment(segment)
                            .generated(";");
                    }
                } else {
                    // We got an expression, but it wasn't the last statement,
                    // so don't try to print it. Yes, this is possible. For
                    // example `for x in y {}` is an expression. See the test
                    // non_semi_statements.
                    code_out = code_out.with_segment(segment);
                }
            } else if let Some(item) = ast::Item::cast(node.clone()) {
                match item {
                    ast::Item::ExternCrate(extern_crate) => {
                        if let Some(crate_name) = extern_crate.name_ref() {
                            let crate_name = crate_name.text().to_string();
                            // These come with the compiler.
                            let is_built_in =
                                ["alloc", "core", "proc_macro", "self", "std", "test"]
                                    .contains(&crate_name.as_str());
                            if !is_built_in && !self.dependency_lib_names()?.contains(&crate_name) {
                                self.external_deps
                                    .entry(crate_name.clone())
                                    .or_insert_with(|| {
                                        ExternalCrate::new(crate_name.clone(), "\"*\"".to_owned())
                                            .unwrap()
                                    });
                            }
                            self.extern_crate_stmts
                                .insert(crate_name, segment.code.clone());
                        }
                    }
                    ast::Item::MacroRules(macro_rules) => {
                        if let Some(name) = ast::HasName::name(&macro_rules) {
                            let item_block = CodeBlock::new().with_segment(segment);
                            self.items_by_name
                                .insert(name.text().to_string(), item_block);
                        } else {
                            code_out = code_out.with_segment(segment);
                        }
                    }
                    ast::Item::Use(use_stmt) => {
                        if let Some(use_tree) = use_stmt.use_tree() {
                            if self.config.expand_use_statements {
                                // This mode is used for normal execution as it results in all named
                                // items being stored separately, which permits future code to
                                // deduplicate / replace those items. It doesn't however preserve
                                // traceability back to the original user's code, so isn't so useful
                                // for analysis purposes.
                                crate::use_trees::use_tree_names_do(&use_tree, &mut |import| {
                                    match import {
                                        Import::Unnamed(code) => {
                                            self.unnamed_items
                                                .push(CodeBlock::new().other_user_code(code));
                                        }
                                        Import::Named { name, code } => {
                                            self.items_by_name.insert(
                                                name,
                                                CodeBlock::new().other_user_code(code),
                                            );
                                        }
                                    }
                                });
                            } else {
                                // This mode finds all names that the use statement expands to, then
                                // removes any previous definitions of those names and then adds the
                                // original user code as-is. This allows error reporting on the
                                // added line. It's only good for one-off usage though, since all
                                // the names get put into `unnamed_items`, so can't get tracked.
                                // Fortunately this is fine for analysis purposes, since we always
                                // through away the state after we're done with analysis.
                                crate::use_trees::use_tree_names_do(&use_tree, &mut |import| {
                                    if let Import::Named { name, .. } = import {
                                        self.items_by_name.remove(&name);
                                    }
                                });
                                self.unnamed_items
                                    .push(CodeBlock::new().with_segment(segment));
                            }
                        } else {
                            // No use-tree probably means something is malformed, just put it into
                            // the output as-is so that we can get proper error reporting.
                            code_out = code_out.with_segment(segment);
                        }
                    }
                    item => {
                        if let ast::Item::Impl(item) = &item {
                            self.replace_impls(item);
                        }
                        let item_block = CodeBlock::new().with_segment(segment);
                        if let Some(name) = impls::defined_type(&item)
                            && let Some(old) = self.items_by_name.get(&name)
                            && let Some(old) = impls::definition(&old.code_string(), &name)
                            && old != impls::tokens(item.syntax())
                        {
                            changed_types.insert(name);
                        }
                        if let Some(item_name) = item::item_name(&item) {
                            *self.items_by_name.entry(item_name.to_owned()).or_default() =
                                item_block;
                            items_of_cell.insert(item_name.clone());
                            previous_item_name = Some(item_name);
                        } else if let Some(item_name) = &match &item {
                            // An impl goes with the type or the trait of its cell, and with nothing else.
                            ast::Item::Impl(item) => impls::names(item)
                                .into_iter()
                                .find(|name| items_of_cell.contains(name)),
                            _ => previous_item_name.clone(),
                        } {
                            // unwrap below should never fail because we put
                            // that key in the map on a previous iteration,
                            // otherwise we wouldn't have had a value in
                            // `previous_item_name`.
                            self.items_by_name
                                .get_mut(item_name)
                                .unwrap()
                                .modify(move |block_for_name| block_for_name.add_all(item_block));
                        } else {
                            self.unnamed_items.push(item_block);
                        }
                    }
                }
            } else {
                code_out = code_out.with_segment(segment);
            }
        }
        self.drop_variables_of(changed_types);
        for (variable, value) in named_values {
            // The type of a function has no name, but that of a pointer to it has.
            if let Some(function) = self.items_by_name.get(&value)
                && let Some(pointer) = item::pointer_type(&function.code_string(), &value)
                && let Some(state) = self.variable_states.get_mut(&variable)
                && state.type_name.is_empty()
            {
                state.type_name = pointer;
                state.is_function = true;
            }
        }
        Ok(code_out)
    }

    /// Removes what an `impl` of this cell replaces from the items of earlier cells.
    fn replace_impls(&mut self, later: &ast::Impl) {
        let blocks = self.items_by_name.values_mut();
        for block in blocks.chain(self.unnamed_items.iter_mut()) {
            block.segments.retain_mut(|segment| {
                if !matches!(segment.kind, CodeKind::OtherUserCode) {
                    return true;
                }
                match impls::remains(&segment.code, later) {
                    impls::Remains::All => true,
                    impls::Remains::Nothing => false,
                    impls::Remains::Code(code) => {
                        *segment = Segment::new(CodeKind::OtherUserCode, code);
                        true
                    }
                }
            });
        }
        self.unnamed_items.retain(|block| !block.is_empty());
    }

    /// Returns under which name the call of a macro that makes items is kept. Returns None for other code.
    fn item_macro(&self, node: &SyntaxNode) -> Option<String> {
        let call = item::macro_call(node)?;
        let name = call.path()?.syntax().text().to_string();
        // An imported macro has an item too, its `use`.
        let own = self.items_by_name.get(&name).map(CodeBlock::code_string);
        let makes_items = match own.filter(|code| code.contains("macro_rules!")) {
            Some(own) => item::makes_items(&own),
            None => item::holds_items(&call),
        };
        // A call that runs again takes the place of the earlier one.
        makes_items
            .then(|| item::name_in_macro(&call).unwrap_or_else(|| impls::tokens(call.syntax())))
    }

    /// Drops the variables whose types contain a type that this cell defines anew: their values have
    /// the old shape.
    fn drop_variables_of(&mut self, mut changed: HashSet<String>) {
        if changed.is_empty() {
            return;
        }
        let changed_here = changed.clone();
        loop {
            let mentions = |code: &str| {
                code_block::words(code)
                    .iter()
                    .any(|word| changed.contains(*word))
            };
            let more: Vec<String> = self
                .items_by_name
                .iter()
                .filter(|(name, _)| !changed.contains(*name))
                .filter(|(name, block)| {
                    impls::definition(&block.code_string(), name)
                        .is_some_and(|code| mentions(&code))
                })
                .map(|(name, _)| name.clone())
                .collect();
            if more.is_empty() {
                break;
            }
            changed.extend(more);
        }
        let is_lost = |variable: &VariableState| {
            let types = [&variable.type_name, &variable.type_at_run_time];
            let mut words = types
                .iter()
                .flat_map(|name| name.split(|c: char| !(c.is_alphanumeric() || c == '_')));
            words.any(|word| changed.contains(word))
        };
        let mut lost: Vec<String> = self
            .stored_variable_states
            .iter()
            .filter(|(_, variable)| is_lost(variable))
            .map(|(name, _)| name.clone())
            .collect();
        lost.sort();
        let mut types: Vec<&str> = changed_here.iter().map(String::as_str).collect();
        types.sort_unstable();
        for name in lost {
            self.stored_variable_states.remove(&name);
            let is_new = |variable: &VariableState| variable.move_state == VariableMoveState::New;
            if self.variable_states.get(&name).is_some_and(is_new) {
                continue;
            }
            self.variable_states.remove(&name);
            if name != LAST {
                let reason = format!(
                    "its type contains `{}`, which this cell defines differently",
                    types.join("`, `")
                );
                self.not_kept.push((name, reason));
            }
        }
    }

    fn dependency_lib_names(&self) -> Result<Vec<String>> {
        cargo_metadata::get_library_names(&self.config)
    }

    fn record_new_locals(
        &mut self,
        pat: ast::Pat,
        opt_ty: Option<ast::Type>,
        segment: &Segment,
        let_stmt_range: TextRange,
    ) {
        match pat {
            // Within a pattern, a name with a capital is a constant or a variant of an enum.
            ast::Pat::IdentPat(ident)
                if ast::HasName::name(&ident)
                    .is_some_and(|name| name.text().starts_with(char::is_uppercase)) => {}
            ast::Pat::IdentPat(ident) => self.record_local(ident, opt_ty, segment, let_stmt_range),
            ast::Pat::RecordPat(ref pat_struct) => {
                if let Some(record_fields) = pat_struct.record_pat_field_list() {
                    for field in record_fields.fields() {
                        if let Some(pat) = field.pat() {
                            self.record_new_locals(pat, None, segment, let_stmt_range);
                        }
                    }
                }
            }
            ast::Pat::TuplePat(ref pat_tuple) => {
                for pat in pat_tuple.fields() {
                    self.record_new_locals(pat, None, segment, let_stmt_range);
                }
            }
            ast::Pat::TupleStructPat(ref pat_tuple) => {
                for pat in pat_tuple.fields() {
                    self.record_new_locals(pat, None, segment, let_stmt_range);
                }
            }
            // Slices, references, alternatives, boxes, parentheses: variables are in the patterns
            // within them.
            other => {
                let nested: Vec<ast::Pat> = AstNode::syntax(&other)
                    .children()
                    .filter_map(ast::Pat::cast)
                    .collect();
                for pat in nested {
                    self.record_new_locals(pat, None, segment, let_stmt_range);
                }
            }
        }
    }

    fn record_local(
        &mut self,
        pat_ident: ast::IdentPat,
        opt_ty: Option<ast::Type>,
        segment: &Segment,
        let_stmt_range: TextRange,
    ) {
        let type_name = match opt_ty {
            Some(ty) if type_is_fully_specified(&ty) => format!("{}", AstNode::syntax(&ty).text()),
            // Known once the code has run.
            _ => String::new(),
        };
        // `name @ pattern`
        if let Some(pat) = pat_ident.pat() {
            self.record_new_locals(pat, None, segment, let_stmt_range);
        }
        if let Some(name) = ast::HasName::name(&pat_ident) {
            self.variable_states.insert(
                name.text().to_string(),
                VariableState {
                    type_name,
                    type_at_run_time: String::new(),
                    is_function: false,
                    is_mut: pat_ident.mut_token().is_some(),
                    // All new locals will initially be defined only inside our catch_unwind
                    // block.
                    move_state: VariableMoveState::New,
                    definition_span: segment.sequence.map(|segment_index| {
                        let range = name.syntax().text_range() - let_stmt_range.start();
                        UserCodeSpan {
                            segment_index,
                            range,
                        }
                    }),
                },
            );
        }
    }
}

// Returns the path to `tool` (rustc or cargo) that rustup will use, or None if anything goes wrong
// (e.g. rustup isn't available). By invoking this binary directly, we avoid having rustup decide
// which binary to invoke each time we compile. Doing this for cargo reduces eval time for a trivial
// bit of code from about 140ms to 109ms. Doing it for rustc as well further reduces it to about
// 75ms.
fn rustup_tool_path(toolchain: Option<&str>, tool: &str) -> Option<PathBuf> {
    let mut cmd = Command::new("rustup");
    if let Some(toolchain) = toolchain {
        cmd.arg("+".to_owned() + toolchain);
    }
    let output = cmd.arg("which").arg(tool).output().ok()?;
    if !output.status.success() {
        return None;
    }
    Some(PathBuf::from(
        std::str::from_utf8(&output.stdout).ok()?.trim().to_owned(),
    ))
}

/// Returns the path to `tool` (cargo or rustc), first attempting to use rustup, then failing that
/// looking for the tool on the PATH and failing that checking if `fallback` exists. If all that
/// fails, then returns an error. `fallback` should be the path to the tool at compile time and is a
/// last resort for handling the case where the user does `cargo install` from a shell that has rust
/// tools on their path, but then runs evcxr (most like the jupyter kernel) without their path set
/// correctly. This mostly happens when people set PATH in their bashrc, then run evcxr_jupyter from
/// vscode.
fn default_tool_path(tool: &str, fallback: &str) -> Result<PathBuf> {
    if let Some(path) = rustup_tool_path(None, tool) {
        return Ok(path);
    }
    if let Ok(path) = which::which(tool) {
        return Ok(path);
    }
    let path = PathBuf::from(fallback);
    if path.exists() {
        // For security reasons, we only use the fallback path if it's in the user's home directory.
        // This is probably a bit paranoid, but we'd like to avoid the situation where someone
        // downloads a pre-built evcxr binary and runs it and someone else on the system knows
        // they're going to do this, so puts a malicious cargo/rustc binary at the location of the
        // fallback path.
        if let Some(home) = dirs::home_dir()
            && path.starts_with(home)
        {
            // Note, if the user is using rustup, then we're likely returning the path to the
            // rustup proxy, so they won't in this case get the speedup from bypassing the
            // proxy... but at least thing will work. The complexity required to bypass in this
            // case doesn't seem worth it.
            return Ok(path);
        }
    }
    anyhow::bail!("Cannot find `{}` binary", tool);
}

fn default_cargo_path() -> Result<PathBuf> {
    const BUILD_TIME_CARGO_PATH: &str = include_str!(concat!(env!("OUT_DIR"), "/cargo_path"));
    default_tool_path("cargo", BUILD_TIME_CARGO_PATH)
}

fn default_rustc_path() -> Result<PathBuf> {
    const BUILD_TIME_RUSTC_PATH: &str = include_str!(concat!(env!("OUT_DIR"), "/rustc_path"));
    default_tool_path("rustc", BUILD_TIME_RUSTC_PATH)
}

fn get_host_target(rustc_path: &Path) -> Result<String, Error> {
    let output = match Command::new(rustc_path).arg("-Vv").output() {
        Ok(o) => o,
        Err(error) => bail!("Failed to run rustc: {}", error),
    };
    let stdout = std::str::from_utf8(&output.stdout)?;
    let stderr = std::str::from_utf8(&output.stderr)?;
    for line in stdout.lines() {
        if let Some(host) = line.strip_prefix("host: ") {
            return Ok(host.to_owned());
        }
    }
    bail!(
        "`{} -Vv` didn't output a host line.\n{}\n{}",
        rustc_path.display(),
        stdout,
        stderr
    );
}

/// Returns whether a type is that of a pointer to a function.
fn is_pointer_type(ty: &str) -> bool {
    ["fn(", "unsafe fn(", "extern ", "for<"]
        .iter()
        .any(|start| ty.starts_with(start))
}

fn replace_reserved_words_in_type(ty: &str) -> String {
    static RESERVED_WORDS: Lazy<Regex> =
        Lazy::new(|| Regex::new("(^|:|<)(async|try)(>|$|:)").unwrap());
    RESERVED_WORDS.replace_all(ty, "${1}r#${2}${3}").to_string()
}

fn core_extern(rustc: &Path) -> Result<OsString> {
    let std_lib = std_lib_path(rustc)?;
    let mut result = OsString::from("core=");
    result.push(std_lib.as_os_str());
    Ok(result)
}

/// Returns the path to the shared object for the rust standard library.
fn std_lib_path(rustc: &Path) -> Result<PathBuf> {
    let libdir_bytes = std::process::Command::new(rustc)
        .arg("--print")
        .arg("target-libdir")
        .output()?
        .stdout;
    let libdir = std::str::from_utf8(&libdir_bytes)?;
    let dir = std::fs::read_dir(libdir.trim())?;
    let prefix = format!("{}std-", crate::module::shared_object_prefix());
    for entry in dir {
        let Ok(entry) = entry else { continue };
        if entry
            .file_name()
            .to_str()
            .is_some_and(|file_name| file_name.starts_with(&prefix))
            && entry
                .path()
                .extension()
                .map(|ext| ext == crate::module::shared_object_extension())
                .unwrap_or(false)
        {
            return Ok(entry.path());
        }
    }
    anyhow::bail!("No libstd found in {libdir}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_ap_syntax::SourceFile;
    use ra_ap_syntax::ast::HasAttrs;

    #[test]
    fn test_replace_reserved_words_in_type() {
        use super::replace_reserved_words_in_type as repl;
        assert_eq!(repl("asyncstart"), "asyncstart");
        assert_eq!(repl("endasync"), "endasync");
        assert_eq!(repl("async::foo"), "r#async::foo");
        assert_eq!(repl("foo::async::bar"), "foo::r#async::bar");
        assert_eq!(repl("foo::async::async::bar"), "foo::r#async::r#async::bar");
        assert_eq!(repl("Bar<async::foo::Baz>"), "Bar<r#async::foo::Baz>");
    }

    fn create_state() -> ContextState {
        let config = Config::new(
            PathBuf::from("/dummy_path"),
            PathBuf::from("/dummy_evcxr_bin"),
        )
        .unwrap();
        ContextState::new(config)
    }

    #[test]
    fn test_attributes() {
        let mut state = create_state();
        let (user_code, code_info) = CodeBlock::from_original_user_code(stringify!(
            #![feature(some_other_feature)]
            fn foo() {}
            let x = 10;
        ));
        let user_code = state.apply(user_code, &code_info.nodes).unwrap();
        let final_code = state.code_to_compile(user_code, CompilationMode::NoCatch);
        let source_file =
            SourceFile::parse(&final_code.code_string(), crate::rust_analyzer::EDITION)
                .ok()
                .unwrap();
        let mut attrs: Vec<String> = source_file
            .attrs()
            .map(|attr| attr.syntax().text().to_string().replace(' ', ""))
            .collect();
        attrs.sort();
        assert_eq!(
            attrs,
            vec![
                "#![allow(unused_imports,unused_mut,dead_code)]".to_owned(),
                "#![feature(some_other_feature)]".to_owned(),
            ]
        );
    }
}
