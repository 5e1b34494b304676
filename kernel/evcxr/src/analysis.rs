// Copyright 2020 The Evcxr Authors.
//
// Licensed under the Apache License, Version 2.0 <LICENSE or
// https://www.apache.org/licenses/LICENSE-2.0> or the MIT license <LICENSE
// or https://opensource.org/licenses/MIT>, at your option. This file may not be
// copied, modified, or distributed except according to those terms.

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

/// The function that contains the code of a cell when rust-analyzer looks at it.
pub(crate) const WRAPPER: &str = "evcxr_analysis_wrapper";

/// Answers questions about code, also while a cell runs. It knows what cells have defined up to the
/// last one that ended. Clones share one rust-analyzer.
#[derive(Clone)]
pub struct Analysis {
    analyzer: Arc<Mutex<RustAnalyzer>>,
    state: Arc<Mutex<ContextState>>,
}

/// What rust-analyzer has found out about the code of a cell.
#[derive(Default)]
pub(crate) struct Findings {
    /// The variables that the code defines.
    pub(crate) variables: HashMap<String, VariableInfo>,
    /// Whether the value of the code has a method `evcxr_display`. None if that is not known.
    pub(crate) displays_itself: Option<bool>,
}

impl Analysis {
    pub(crate) fn new(analyzer: RustAnalyzer, state: ContextState) -> Analysis {
        Analysis {
            analyzer: Arc::new(Mutex::new(analyzer)),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Sets what questions are answered by from now on.
    pub(crate) fn commit(&self, state: &ContextState) {
        if let Ok(mut current) = self.state.lock() {
            current.clone_from(state);
        }
    }

    fn analyzer(&self) -> Result<MutexGuard<'_, RustAnalyzer>> {
        self.analyzer
            .lock()
            .map_err(|_| anyhow!("rust-analyzer ended with a panic"))
    }

    fn state(&self) -> Result<ContextState> {
        let state = self
            .state
            .lock()
            .map_err(|_| anyhow!("The state that cells left cannot be read after a panic"))?;
        Ok(state.clone())
    }

    /// Analyses code on a thread of its own. `manifest` is what Cargo.toml holds.
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

    /// Returns the path by which cells can name a type, and how many lifetimes it has, from the path of its
    /// definition.
    pub(crate) fn public_path(&self, definition: &str) -> Option<(String, usize)> {
        self.analyzer().ok()?.public_path(definition)
    }

    /// Returns whether the standard library and the dependencies were read. The first question
    /// reads them if they were not, which takes seconds.
    pub fn is_warm(&self) -> bool {
        self.analyzer
            .try_lock()
            .is_ok_and(|analyzer| analyzer.is_loaded())
    }

    /// Reads the standard library and the dependencies and infers a few types, so that the first
    /// question finds this done.
    pub fn warm(&self) {
        let code = "let v = vec![1, 2, 3]; \
                    let s: String = v.iter().map(|x: &i32| x.to_string()).collect(); ";
        let _ = self.hover_at(&format!("{code}s"), code.len() + 1);
    }

    /// Returns the variables and items that cells have defined, each with "variable" or "item".
    pub fn names(&self) -> Vec<(String, &'static str)> {
        self.state().map(|state| state.names()).unwrap_or_default()
    }

    /// Returns completions within `src` at `position`, which is a byte offset. Commands (`:dep`)
    /// within `src` are not executed.
    pub fn completions(&self, src: &str, position: usize) -> Result<Completions> {
        let (user_code, code_info) = CodeBlock::from_original_user_code(src);
        if let Some((segment, offset)) = user_code.command_containing_user_offset(position) {
            return crate::CommandContext::command_completions(segment, offset, position);
        }
        let mut state = self.state()?;
        let code = state.code_to_complete(user_code.without_commands(), &code_info.nodes)?;
        let offset = code.user_offset_to_output_offset(position)?;
        let mut analyzer = self.analyzer()?;
        let manifest = manifest_to_load(&analyzer, &state);
        completions(&mut analyzer, &code, offset, manifest.as_deref())
    }

    /// Returns completions within code that was prepared by `ContextState::code_to_complete`.
    pub(crate) fn completions_in(
        &self,
        code: &CodeBlock,
        output_offset: usize,
        manifest: &str,
    ) -> Result<Completions> {
        completions(&mut *self.analyzer()?, code, output_offset, Some(manifest))
    }

    /// Returns what is known of the word that ends at `position`, which is a byte offset within
    /// `src`, as Markdown. Returns None if nothing is known of it.
    pub fn hover_at(&self, src: &str, position: usize) -> Result<Option<String>> {
        let mut state = self.state()?;
        let manifest = manifest_to_load(&*self.analyzer()?, &state);
        let hover = self.hover_in(&src[..position], &mut state, manifest.as_deref())?;
        Ok(hover.map(|(_, markdown)| markdown))
    }

    /// Returns what is known of the word at the end of `code`, as text and as Markdown.
    pub(crate) fn hover_in(
        &self,
        code: &str,
        state: &mut ContextState,
        manifest: Option<&str>,
    ) -> Result<Option<(String, String)>> {
        let (modified_code, hover_offset) = if code == "let" {
            (String::from("let _ = 1;"), 0)
        } else if code.ends_with('(') {
            //If code is a function like `Option::ok_or_else`, the hover works fine, but if it is
            // method like `None.ok_or_else`, the hover show nothing, in order to show that, the code
            // has to end with "(", like `None.ok_or_else(`
            (format!("{code});"), code.len() - 1)
        } else {
            (format!("{code};"), code.len())
        };
        let (user_code, code_info) = CodeBlock::from_original_user_code(&modified_code);
        let pad_code = state.code_to_complete(user_code.without_commands(), &code_info.nodes)?;
        let wrapped_offset = pad_code.user_offset_to_output_offset(hover_offset)? as u32;
        let text_range = TextRange::new(wrapped_offset.into(), wrapped_offset.into());
        let mut analyzer = self.analyzer()?;
        analyzer.set_source(pad_code.code_string(), manifest)?;
        let hover_text = analyzer.hover(text_range, false)?;
        let hover_markdown = analyzer.hover(text_range, true)?;
        Ok(match (hover_text, hover_markdown) {
            (Some(text), Some(markdown)) => {
                Some((text.info.markup.into(), markdown.info.markup.into()))
            }
            _ => None,
        })
    }
}

fn completions(
    analyzer: &mut RustAnalyzer,
    code: &CodeBlock,
    output_offset: usize,
    manifest: Option<&str>,
) -> Result<Completions> {
    analyzer.set_source(code.code_string(), manifest)?;
    let mut completions = analyzer.completions(output_offset)?;
    completions.start_offset = code.output_offset_to_user_offset(completions.start_offset)?;
    completions.end_offset = code.output_offset_to_user_offset(completions.end_offset)?;
    // Filter internal identifiers.
    completions
        .completions
        .retain(|c| !c.code.starts_with("evcxr_"));
    Ok(completions)
}

/// Returns what Cargo.toml is expected to hold if it was not loaded yet. Once it was, loading it
/// again is left to the next cell, because a cell that runs may be changing it.
fn manifest_to_load(analyzer: &RustAnalyzer, state: &ContextState) -> Option<String> {
    (!analyzer.is_loaded()).then(|| state.cargo_toml())
}
