//! Renders the help of a magic from its description.

use super::Magic;
use crate::host::{Bundle, plain};
use serde_json::json;

impl Magic {
    /// The help as a bundle of text and Markdown.
    pub fn help_bundle(&self) -> Bundle {
        let mut bundle = plain(self.plain());
        bundle.insert("text/markdown".into(), json!(self.markdown()));
        bundle
    }

    /// The line above the example.
    fn before_example(&self) -> &'static str {
        match self.example.contains(" depth") && self.name != "sweep" {
            true => "An example, for the study that the example of `%%sweep?` makes:",
            false => "An example:",
        }
    }

    /// The help in Markdown, with usage, example and options.
    pub fn markdown(&self) -> String {
        let mut text = format!("**{}**\n\n```\n{}\n```\n\n{}\n", self.summary, self.usage, self.help);
        text += &format!("\n{}\n\n```\n{}\n```\n", self.before_example(), self.example);
        if !self.options.is_empty() {
            text += "\n| option | meaning |\n|---|---|\n";
            for option in self.options {
                let value = option.value.map_or(String::new(), |value| format!(" {value}"));
                let row = [format!("`{}{value}`", option.written()), option.help.to_string()];
                // A bar would end the cell of the Markdown table.
                text += &format!("| {} |\n", row.map(|cell| cell.replace('|', "\\|")).join(" | "));
            }
        }
        text
    }

    /// The help as text, with usage, example and options.
    pub fn plain(&self) -> String {
        let mut text = format!("{}\n\n{}\n\n{}\n", self.summary, self.usage, self.help);
        text += &format!("\n{}\n\n{}\n", self.before_example(), self.example);
        if !self.options.is_empty() {
            text += "\nOptions:\n";
            for option in self.options {
                let written = option.written();
                let written = option.value.map_or(written.clone(), |value| format!("{written} {value}"));
                text += &format!("  {written:<24} {}\n", option.help);
            }
        }
        text
    }
}
