//! The names of the errors that a user can meet, from magics and from Rust cells.

/// The name of an error: the `ename` of the Jupyter error, on which notebooks and scripts rely. Renaming a variant is a
/// breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
pub enum ErrorName {
    /// Rust was asked to run while a cell runs.
    Busy,
    /// A build failed for another reason than the user's code: cargo, a dependency, the disk.
    BuildError,
    /// An exported program does not compile, or could not be checked.
    CheckFailed,
    /// Code of the user does not compile.
    CompilationError,
    /// The engine of Rust cells has ended.
    EngineError,
    /// A cell failed in a way that has no kind of its own: a `?` that met an error, a dependency that cannot be added.
    Error,
    /// A file that must not be overwritten exists.
    FileExists,
    /// A file or folder cannot be used.
    FileError,
    /// A fault of Tunebook itself.
    InternalError,
    /// The user interrupted.
    Interrupted,
    /// A declaration of a study cannot stand where it stands.
    InvalidDeclaration,
    /// A distribution of a hyperparameter is impossible.
    InvalidDistribution,
    /// A value, an option's value or a name is not allowed.
    InvalidValue,
    /// A name that Tunebook defines is taken by the user.
    NameTaken,
    /// What was asked has no answer yet.
    NoAnswer,
    /// The trial left no checkpoint.
    NoCheckpoint,
    /// A cell uses `_`, and no expression has had a value yet.
    NoLastValue,
    /// The magic needs the session of a notebook or console, and there is none.
    NoSession,
    /// The Rust toolchain is missing.
    NoToolchain,
    /// What was asked is not available here, or not yet.
    NotAvailable,
    /// The magic would lose something and needs `--force`.
    NotForced,
    /// Something that set-up builds ahead was not built.
    NotPrepared,
    /// The cell panicked.
    Panic,
    /// The cell ended its process.
    ProcessEnded,
    /// A command or program of the shell failed.
    ShellError,
    /// The process that runs trials failed.
    SlotError,
    /// The store cannot be used.
    StoreError,
    /// Another process writes the study.
    StudyBusy,
    /// A study of this name has another definition.
    StudyExists,
    /// The text cannot be understood.
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
    /// A workload compiles and cannot be trained.
    WorkloadError,
}

impl ErrorName {
    /// The name as the user sees it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
