// Tunebook: what rust-analyzer knows, on its own and in parallel to compiler and cells (see CHANGES.md).

use crate::code_block::CodeBlock;
use crate::eval_context::ContextState;
use crate::rust_analyzer::Completions;
use crate::rust_analyzer::RustAnalyzer;
use crate::rust_analyzer::VariableInfo;
use anyhow::Result;
use anyhow::anyhow;
use crossbeam_channel::Receiver;
use ra_ap_ide::TextRange;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

pub(crate) const WRAPPER: &str = "evcxr_analysis_wrapper";

/// Answers questions about code by what was committed last, also while a cell runs. Clones share one rust-analyzer.
#[derive(Clone)]
pub struct Analysis {
    analyzer: Arc<Mutex<RustAnalyzer>>,
    state: Arc<Mutex<ContextState>>,
}

/// What rust-analyzer says of the code of a cell.
#[derive(Default)]
pub(crate) struct Findings {
    /// The variables that it defines.
    pub(crate) variables: HashMap<String, VariableInfo>,
    /// Whether its last expression has a method `evcxr_display`; `None` where that is not known.
    pub(crate) displays_itself: Option<bool>,
}

impl Analysis {
    pub(crate) fn new(analyzer: RustAnalyzer, state: ContextState) -> Analysis {
        Analysis {
            analyzer: Arc::new(Mutex::new(analyzer)),
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub(crate) fn commit(&self, state: &ContextState) {
        if let Ok(mut current) = self.state.lock() {
            current.clone_from(state);
        }
    }

    fn analyzer(&self) -> Result<MutexGuard<'_, RustAnalyzer>> {
        self.analyzer.lock().map_err(|_| anyhow!("rust-analyzer ended with a panic"))
    }

    fn state(&self) -> Result<ContextState> {
        let state = self.state.lock().map_err(|_| anyhow!("the state is not there"))?;
        Ok(state.clone())
    }

    /// Analyses code on a thread of its own.
    pub(crate) fn start(&self, code: String, manifest: String) -> Receiver<Findings> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let analysis = self.clone();
        std::thread::spawn(move || {
            let findings = analysis.analyzer().and_then(|mut analyzer| {
                analyzer.set_source(code, Some(&manifest))?;
                Ok(Findings {
                    displays_itself: analyzer.displays_itself(WRAPPER),
                    variables: analyzer.top_level_variables(WRAPPER),
                })
            });
            let _ = sender.send(findings.unwrap_or_default());
        });
        receiver
    }

    /// Whether it has read the standard library and the dependencies: if not, the first question takes seconds.
    pub fn is_warm(&self) -> bool {
        self.analyzer.try_lock().is_ok_and(|analyzer| analyzer.is_loaded())
    }

    /// Reads the standard library and the dependencies, and infers something, so that the first question finds it done.
    pub fn warm(&self) {
        let code = "let v = vec![1, 2, 3]; let s: String = v.iter().map(|x: &i32| x.to_string()).collect(); ";
        let _ = self.hover_at(&format!("{code}s"), code.len() + 1);
    }

    /// Variables and items, with what each is.
    pub fn names(&self) -> Vec<(String, &'static str)> {
        self.state().map(|state| state.names()).unwrap_or_default()
    }

    /// Completions within `src` at a byte.
    pub fn completions(&self, src: &str, position: usize) -> Result<Completions> {
        let (code, info) = CodeBlock::from_original_user_code(src);
        if let Some((segment, offset)) = code.command_containing_user_offset(position) {
            return crate::CommandContext::command_completions(segment, offset, position);
        }
        let mut state = self.state()?;
        let code = state.code_to_complete(code, &info.nodes)?;
        let offset = code.user_offset_to_output_offset(position)?;
        let mut analyzer = self.analyzer()?;
        let manifest = manifest(&analyzer, &state);
        analyzer.set_source(code.code_string(), manifest.as_deref())?;
        let mut completions = analyzer.completions(offset)?;
        completions.start_offset = code.output_offset_to_user_offset(completions.start_offset)?;
        completions.end_offset = code.output_offset_to_user_offset(completions.end_offset)?;
        // Filter internal identifiers.
        completions
            .completions
            .retain(|c| !c.code.starts_with("evcxr_"));
        Ok(completions)
    }

    /// What is known of the word that ends at a byte, as Markdown; `None` where nothing is.
    pub fn hover_at(&self, src: &str, position: usize) -> Result<Option<String>> {
        let (code, offset) = match &src[..position] {
            "let" => (String::from("let _ = 1;"), 0),
            // The hover of a function works as it is, that of a method needs the parenthesis.
            code if code.ends_with('(') => (format!("{code});"), code.len() - 1),
            code => (format!("{code};"), code.len()),
        };
        let (user_code, info) = CodeBlock::from_original_user_code(&code);
        let mut state = self.state()?;
        let code = state.code_to_complete(user_code, &info.nodes)?;
        let offset = code.user_offset_to_output_offset(offset)? as u32;
        let mut analyzer = self.analyzer()?;
        let manifest = manifest(&analyzer, &state);
        analyzer.set_source(code.code_string(), manifest.as_deref())?;
        let range = TextRange::new(offset.into(), offset.into());
        Ok(analyzer.hover(range, true)?.map(|hover| hover.info.markup.into()))
    }
}

/// What Cargo.toml is expected to hold. Where crates were read before, that is left to the next cell: a cell that runs may be
/// adding some.
fn manifest(analyzer: &RustAnalyzer, state: &ContextState) -> Option<String> {
    (!analyzer.is_loaded()).then(|| state.cargo_toml())
}
