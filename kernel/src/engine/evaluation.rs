//! Evaluates one cell: has evcxr compile and run it, and turns what comes back into a value or an error.

use super::beside;
use super::build_progress::BuildProgress;
use super::errors::{CellError, compilation, warnings};
use super::gone::{Gone, defined};
use super::last_value;
use super::main_function;
use super::output::{Bundle, Cell, Output};
use super::state::CellRun;
use evcxr::CommandContext;
use ra_ap_syntax::ast::{self, AstNode, AstToken};
use ra_ap_syntax::{Edition, SourceFile};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tunebook_magics::ErrorName;
use tunebook_split::command_lines;

/// A cell that ended without an error.
#[derive(Default)]
pub struct Evaluation {
    /// The value of the last expression; None for a statement, and for the value `()`.
    pub value: Option<Bundle>,
    /// Wall-clock time before the code ran.
    pub compile: Duration,
    /// Wall-clock time while the code ran.
    pub run: Duration,
    /// Processor time while the code ran, in user mode and in the operating system.
    pub processor: Option<(Duration, Duration)>,
}

/// Compiles and runs a cell whose dependencies have been added.
pub(super) fn evaluate(
    context: &mut CommandContext,
    output: &Output,
    code: &str,
    cell: Arc<dyn Cell>,
    progress: &BuildProgress,
    run: &CellRun,
    gone: &mut Gone,
) -> Result<Evaluation, CellError> {
    if let Some(error) = refused_command(code) {
        return Err(error);
    }
    let mut variables: Vec<String> = context.variables_and_types().map(|(name, _)| name.to_string()).collect();
    variables.sort();
    let program = main_function::called(code);
    let to_run = program.as_deref().unwrap_or(code);
    let folder = std::env::current_dir().unwrap_or_default();
    let located = beside::with_paths(to_run, &folder)?;
    let to_run = located.as_deref().unwrap_or(to_run);
    let with_last = last_value::named(to_run);
    if with_last.is_some() && !context.eval_context().has_last() {
        let message =
            "`_` is the value of the last expression, and there is none (one that borrows from variables is not kept)";
        return Err(CellError::new(ErrorName::NoLastValue, message));
    }
    let name = run.number().to_string();
    context.eval_context().set_cell_name(&name);
    context.eval_context().set_keeps_last(cell.keeps_value());
    output.begin(&name, cell.clone());
    let started = Instant::now();
    let result = context.execute(with_last.as_deref().unwrap_or(to_run));
    let took = started.elapsed();
    let printed = output.end(context.eval_context().runs());
    progress.end();
    let interrupted = run.is_interrupted();
    let named = cell.count().map_or("An earlier cell".into(), |count| format!("Cell [{count}]"));
    let outputs = match result {
        Ok(outputs) => outputs,
        Err(evcxr::Error::SubprocessTerminated(reason)) => {
            gone.all_lost(&variables, &named);
            return Err(variables_lost(&variables, &reason, interrupted));
        }
        Err(_) if interrupted => {
            return Err(CellError::new(ErrorName::Interrupted, "the cell was interrupted while it was compiled"));
        }
        Err(evcxr::Error::CompilationErrors(errors)) => {
            let mut error = compilation(&errors, code);
            let explained: BTreeSet<&str> = errors.iter().filter_map(|error| gone.explained(error)).collect();
            error.traceback.extend(explained.into_iter().map(String::from));
            return Err(error);
        }
        Err(error) => return Err(CellError::of_build(&error.to_string())),
    };
    let after: Vec<String> = context.variables_and_types().map(|(name, _)| name.to_string()).collect();
    if outputs.user_error.is_none() && !outputs.panicked && outputs.restored.is_none() {
        variables.extend(defined(code));
    }
    gone.record(&variables, &after, &outputs.not_kept, code, &named);
    let warned = warnings(&outputs.warnings, code);
    if !warned.is_empty() {
        cell.text(&warned, true);
    }
    if program.is_some() {
        cell.text(main_function::NOTE, true);
    }
    for (name, reason) in &outputs.not_kept {
        cell.text(&format!("note: `{name}` is not kept for later cells: {reason}\n"), true);
    }
    if let Some((error, line)) = outputs.user_error {
        return Err(CellError::of_line(ErrorName::Error, &[error], line, code, outputs.restored.is_some()));
    }
    if outputs.panicked {
        let line = |line| context.eval_context().user_line(line);
        return Err(CellError::panic(&printed.about_panic, code, line, outputs.restored.is_some()));
    }
    if let Some(how) = &outputs.restored {
        return Err(variables_restored(how, interrupted));
    }
    let value = value(outputs.content_by_mime_type, printed.value);
    let [wall, user, system] = outputs.times[..] else { return Ok(Evaluation { value, ..Evaluation::default() }) };
    Ok(Evaluation { value, compile: took.saturating_sub(wall), run: wall, processor: Some((user, system)) })
}

/// The bundle of a text that is a block of content, which evcxr's users print to show a page: the text as `Debug`
/// writes it. None if it is none.
fn content(debug: &str) -> Option<Bundle> {
    if !debug.trim_start().starts_with("\"EVCXR_BEGIN_CONTENT ") {
        return None;
    }
    let file = SourceFile::parse(&format!("const S: &str = {debug};"), Edition::Edition2024).tree();
    let tokens = file.syntax().descendants_with_tokens().filter_map(|element| element.into_token());
    let text = tokens.filter_map(ast::String::cast).next()?.value().ok()?.into_owned();
    let (head, rest) = text.trim_start().strip_prefix("EVCXR_BEGIN_CONTENT ")?.split_once('\n')?;
    let (body, _) = rest.rsplit_once("EVCXR_END_CONTENT")?;
    let body = body.strip_suffix('\n').unwrap_or(body);
    Some(Bundle::from_iter([(head.trim().to_string(), json!(body))]))
}

/// The value of a cell as a MIME bundle: what displayed itself, or else evcxr's text.
fn value(of_evcxr: HashMap<String, String>, displayed: Option<Bundle>) -> Option<Bundle> {
    if displayed.is_some() {
        return displayed;
    }
    let is_unit = of_evcxr.len() == 1 && of_evcxr.get("text/plain").is_some_and(|text| text == "()");
    if of_evcxr.is_empty() || is_unit {
        return None;
    }
    if let Some(content) = of_evcxr.get("text/plain").and_then(|text| content(text)) {
        return Some(content);
    }
    Some(of_evcxr.into_iter().map(|(mime, text)| (mime, json!(text))).collect())
}

/// The error of a cell that contains a command of evcxr which would end or change the kernel's own process.
fn refused_command(code: &str) -> Option<CellError> {
    let commands = command_lines(code).into_iter().filter_map(|number| code.lines().nth(number));
    let message = commands.filter_map(|line| line.split_whitespace().next()).find_map(|word| match word {
        ":quit" | ":q" => Some("a cell cannot quit the kernel; shut it down or restart it from the menu"),
        ":env" => Some("`:env` would change the kernel while it runs; `%env NAME=value` sets a variable for cells"),
        _ => None,
    })?;
    Some(CellError::new(ErrorName::NotAvailable, message))
}

/// The error of a cell whose process died while a snapshot of it could take over.
fn variables_restored(how: &str, interrupted: bool) -> CellError {
    let mut error = match interrupted {
        true => CellError::new(ErrorName::Interrupted, "the cell was interrupted"),
        false => CellError::new(ErrorName::ProcessEnded, format!("the cell ended its process ({how})")),
    };
    error.traceback.push("Every variable is as it was before the cell.".into());
    error
}

/// The error of a cell whose process died when there was no snapshot. It names the variables that are lost.
fn variables_lost(variables: &[String], reason: &str, interrupted: bool) -> CellError {
    let cost = match variables {
        [] => "No variables were lost.".to_string(),
        names => format!("Lost with it: {}. Functions and types are kept.", names.join(", ")),
    };
    let reason = reason.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("").trim();
    let (name, what) = match interrupted {
        true => (ErrorName::Interrupted, "the cell was interrupted, and the process that ran it ended".to_string()),
        false => {
            let status = reason.split_once("with status: ").map_or(reason, |(_, status)| status);
            (ErrorName::ProcessEnded, format!("the process that runs cells ended ({status})"))
        }
    };
    let mut error = CellError::new(name, what);
    error.traceback.push(cost);
    error.traceback.push("It had more than one thread, and such a process cannot be kept safe.".into());
    error.traceback.push("The next cell runs in a new one.".into());
    error
}

#[cfg(test)]
mod tests {
    use super::content;

    #[test]
    fn a_text_that_is_a_block_of_content_is_shown_as_it() {
        let text = "EVCXR_BEGIN_CONTENT text/html\n<b class=\"ä\">\\n</b>\n<i>\nEVCXR_END_CONTENT\n";
        assert_eq!(content(&format!("{text:?}")).unwrap()["text/html"], "<b class=\"ä\">\\n</b>\n<i>");
        for other in ["\"EVCXR_BEGIN_CONTENT text/html\"", "\"a\"", "12", "\"say EVCXR_BEGIN_CONTENT x\""] {
            assert_eq!(content(other), None, "{other}");
        }
    }
}
