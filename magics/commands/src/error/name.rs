//! The names of the errors that a user can meet, from magics and from Rust cells.

/// The name of an error, which is the `ename` of the Jupyter error. Notebooks and scripts rely on it, so renaming a
/// variant is a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
pub enum ErrorName {
    /// A magic that runs Rust was called from a Rust cell, which still runs.
    Busy,
    /// A build failed for another reason than the user's code, such as a dependency or a full disk.
    BuildError,
    /// An exported program does not compile, or could not be checked.
    CheckFailed,
    /// The code of the user does not compile.
    CompilationError,
    /// The engine of Rust cells has failed.
    EngineError,
    /// Any other failure of a cell: a `?` met an error, or a dependency could not be added.
    Error,
    /// The magic would overwrite a file.
    FileExists,
    /// A file or folder cannot be used.
    FileError,
    /// Files of a study have changed since its trials read them, so more trials would mix both.
    FilesChanged,
    /// A fault of Tunebook itself.
    InternalError,
    /// The user interrupted.
    Interrupted,
    /// A declaration of a study is not allowed, for example because its hyperparameter is declared twice.
    InvalidDeclaration,
    /// A distribution of a hyperparameter is impossible.
    InvalidDistribution,
    /// A value, an option's value or a name is not allowed.
    InvalidValue,
    /// An item of the user has the name of one that a magic defines.
    NameTaken,
    /// There is nothing from which to answer: no trial, no measurement, no cell.
    NoAnswer,
    /// The trial left no checkpoint.
    NoCheckpoint,
    /// A cell uses `_`, and no expression has had a value yet.
    NoLastValue,
    /// The magic needs the session of a notebook or console, and there is none.
    NoSession,
    /// The Rust toolchain is missing.
    NoToolchain,
    /// The feature is planned, or refused.
    NotAvailable,
    /// The magic would delete something and needs `--force`.
    NotForced,
    /// `tunebook prepare` was not run for this version, so the crates that cells use are not compiled.
    NotPrepared,
    /// The cell panicked.
    Panic,
    /// The cell ended its process.
    ProcessEnded,
    /// A shell command or a script failed.
    ShellError,
    /// The process that runs trials on a device (a slot) failed.
    SlotError,
    /// The store of studies cannot be used.
    StoreError,
    /// Another process runs the study.
    StudyBusy,
    /// A study of this name has another definition.
    StudyExists,
    /// The text cannot be parsed.
    SyntaxError,
    /// Tests failed.
    TestsFailed,
    /// No hyperparameter has this name.
    UnknownHyperparameter,
    /// No input of the session has this number.
    UnknownInput,
    /// No magic has this name.
    UnknownMagic,
    /// No metric has this name.
    UnknownMetric,
    /// No variable, item or path of Rust has this name.
    UnknownName,
    /// The magic has no such option.
    UnknownOption,
    /// No setting has this name.
    UnknownSetting,
    /// No study has this name.
    UnknownStudy,
    /// The study has no trial of this number.
    UnknownTrial,
    /// The environment has no variable of this name.
    UnknownVariable,
    /// No workload has this name.
    UnknownWorkload,
    /// The worker that trains workloads cannot be used.
    WorkerError,
    /// A workload compiles, but cannot be trained or measured.
    WorkloadError,
}

impl ErrorName {
    /// The name as the user sees it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
