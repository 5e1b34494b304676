//! Turns cells into a program. Items are at the root; as in cells, the last definition of a name is used. Statements
//! follow each other in `main`.

use crate::host::session::{Input, Session};
use crate::magic::{Catalogue, Export, Head};
use crate::rust::{CellPart, Statements, name_of, names_of_use, split_cell};
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, Item, Stmt};

/// The source of the macro `show_value!`, which prints the value of a cell.
const SHOWING: &str = include_str!("../../rust/generated/showing.rs");

/// Macros whose value is `()` or that never return.
const SILENT: [&str; 12] = [
    "println",
    "print",
    "eprintln",
    "eprint",
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "panic",
    "todo",
];

/// Collects the parts of a program.
#[derive(Default)]
pub struct Program {
    /// The inner attributes `#![…]` of cells.
    attributes: Vec<String>,
    /// Imports and items by name. An item without a name (such as an `impl` block) belongs to the named item before it
    /// in its cell, and is replaced together with it.
    items: Vec<(String, Definition)>,
    /// Items without a name that belong to no other item: `impl` blocks and imports with `*`.
    nameless: Vec<Definition>,
    /// The code of `main`.
    main: String,
    /// Whether `main` uses `show_value!`.
    shows_values: bool,
    /// Whether `main` contains an `.await`.
    awaits: bool,
    /// The number of cells.
    pub cells: usize,
    /// The execution counts of cells with code that could not be parsed.
    pub skipped: Vec<u64>,
}

/// The code of a definition at the root.
#[derive(Clone, Debug, PartialEq)]
enum Definition {
    Import(String),
    Macro(String),
    Item(String),
}

impl Program {
    /// The program of the inputs that ran without an error. Cells are in the order of their first run. If a cell ran
    /// again, its last text is used. After a reset, earlier cells are left out.
    pub fn of(catalogue: Catalogue, session: &dyn Session, inputs: &[Input]) -> Self {
        let mut cells: Vec<(String, &Input)> = vec![];
        for input in inputs.iter().filter(|input| input.succeeded) {
            if input.code.lines().any(|line| line.starts_with("%reset") || line.trim() == ":clear") {
                cells.clear();
                continue;
            }
            let key = session.cell_of(input.line).unwrap_or_else(|| input.code.trim().to_string());
            match cells.iter_mut().find(|(known, _)| *known == key) {
                Some((_, cell)) => *cell = input,
                None => cells.push((key, input)),
            }
        }
        let mut program = Self::default();
        for (_, input) in cells {
            program.cell(catalogue, input);
        }
        program
    }

    fn cell(&mut self, catalogue: Catalogue, input: &Input) {
        self.cells += 1;
        let before = self.main.len();
        let parts = split_cell(catalogue, &input.code);
        let last = parts.len().saturating_sub(1);
        for (i, part) in parts.iter().enumerate() {
            match part {
                CellPart::Rust(code) => self.rust(code, i == last, input.line),
                // The manifest contains the dependencies of `:dep`. Other commands of evcxr only show something.
                CellPart::Command(_) => {}
                CellPart::Shell(line) => self.comment(line),
                CellPart::Magic(text) => {
                    let export = catalogue.find(Head::new(text).name(text)).map_or(Export::Comment, |m| m.export);
                    match catalogue.rust_in(text).filter(|_| export != Export::Comment) {
                        Some(code) => {
                            self.comment(text.lines().next().unwrap_or_default());
                            let shown = i == last && export == Export::Rust;
                            self.rust(&text[code], shown, input.line);
                        }
                        None => self.comment(text),
                    }
                }
            }
        }
        if self.main.len() > before {
            self.main.insert_str(before, &format!("\n// Cell {}\n", input.line));
        }
    }

    /// Adds text to `main` as comments.
    fn comment(&mut self, text: &str) {
        for line in text.trim_end().lines() {
            self.main += format!("// {line}").trim_end();
            self.main.push('\n');
        }
    }

    /// Adds the Rust of a cell. If `shown`, the value of its last expression is printed.
    fn rust(&mut self, code: &str, shown: bool, execution_count: u64) {
        let Some(statements) = Statements::of(code) else {
            self.skipped.push(execution_count);
            self.comment("The next lines ran, but could not be parsed as Rust.");
            self.comment(code);
            return;
        };
        self.attributes.extend(statements.attributes.iter().map(|span| code[span.clone()].to_string()));
        let mut before: Option<String> = None;
        let last = statements.list.len().saturating_sub(1);
        for (i, statement) in statements.list.iter().enumerate() {
            let whole = code[statement.whole.clone()].trim().to_string();
            match &statement.parsed {
                Stmt::Item(item) => self.item(item, whole, &mut before),
                parsed => {
                    self.awaits |= awaits(parsed);
                    let is_value = statement.is_value() && i == last;
                    let text = match LastExpression::of(parsed).filter(|_| is_value) {
                        None => whole,
                        Some(value) => {
                            let (above, alone) = whole.split_at(
                                whole.len() - code[statement.span.start..statement.whole.end].trim_end().len(),
                            );
                            let (alone, behind) = alone.split_at(statement.span.len());
                            match value {
                                LastExpression::Value if shown => {
                                    self.shows_values = true;
                                    format!("{above}show_value!({alone});{behind}")
                                }
                                LastExpression::Block => whole,
                                _ => format!("{above}{alone};{behind}"),
                            }
                        }
                    };
                    self.main += &format!("{text}\n");
                }
            }
        }
        let rest = code[statements.rest].trim();
        if !rest.is_empty() {
            self.main += &format!("{rest}\n");
        }
    }

    /// Adds an item. `before` is the name of the last named item of the cell.
    fn item(&mut self, item: &Item, code: String, before: &mut Option<String>) {
        match item {
            Item::Use(import) => {
                for (name, code) in names_of_use(import) {
                    match name {
                        Some(name) => self.define(name, Definition::Import(code)),
                        None if self.nameless.contains(&Definition::Import(code.clone())) => {}
                        None => self.nameless.push(Definition::Import(code)),
                    }
                }
            }
            Item::ExternCrate(of) => self.define(format!("extern crate {}", of.ident), Definition::Import(code)),
            _ => match (name_of(item), &before) {
                (Some(name), _) => {
                    let definition =
                        if matches!(item, Item::Macro(_)) { Definition::Macro(code) } else { Definition::Item(code) };
                    self.define(name.clone(), definition);
                    // An `impl` block does not belong to a macro.
                    if !matches!(item, Item::Macro(_)) {
                        *before = Some(name);
                    }
                }
                (None, Some(owner)) => {
                    if let Some((_, Definition::Item(text))) = self.items.iter_mut().find(|(name, _)| name == owner) {
                        *text += &format!("\n\n{code}");
                    }
                }
                (None, None) => self.nameless.push(Definition::Item(code)),
            },
        }
    }

    /// Adds a definition, or replaces the one with the same name.
    fn define(&mut self, name: String, definition: Definition) {
        match self.items.iter_mut().find(|(known, _)| *known == name) {
            Some((_, code)) => *code = definition,
            None => self.items.push((name, definition)),
        }
    }

    /// The source of the program. `head` contains the comments at its top.
    pub fn source(&self, head: &str) -> String {
        let all = || self.items.iter().map(|(_, definition)| definition).chain(&self.nameless);
        let mut attributes = self.attributes.clone();
        attributes.sort();
        attributes.dedup();
        let mut text = format!("{head}#![allow(dead_code, unused)]\n");
        for attribute in attributes {
            text += &format!("{attribute}\n");
        }
        let mut uses: Vec<&str> = all()
            .filter_map(|definition| if let Definition::Import(code) = definition { Some(&code[..]) } else { None })
            .collect();
        uses.sort_unstable();
        uses.dedup();
        text += &format!("\n{}\n", uses.join("\n"));
        // A macro must be defined above the code that uses it.
        for definition in all() {
            if let Definition::Macro(code) = definition {
                text += &format!("\n{code}\n");
            }
        }
        if self.shows_values {
            text += &format!("\n{SHOWING}");
        }
        for definition in all() {
            if let Definition::Item(code) = definition {
                text += &format!("\n{code}\n");
            }
        }
        let main = self.main.trim();
        text += "\nfn main() -> ::std::result::Result<(), Box<dyn ::std::error::Error>> {\n";
        text += &match self.awaits {
            false => format!("{main}\n::std::result::Result::Ok(())\n"),
            true => format!(
                "tokio::runtime::Runtime::new()?.block_on(async {{\n{main}\n::std::result::Result::Ok(())\n}})\n"
            ),
        };
        text + "}\n"
    }

    /// The number of items, without imports.
    pub fn items(&self) -> usize {
        let all = self.items.iter().map(|(_, definition)| definition).chain(&self.nameless);
        all.filter(|definition| !matches!(definition, Definition::Import(_))).count()
    }

    /// Whether the program needs the runtime of tokio.
    pub fn needs_runtime(&self) -> bool {
        self.awaits
    }
}

/// The kinds of a last expression without a semicolon.
enum LastExpression {
    /// It may have a value.
    Value,
    /// Its value is `()`.
    Unit,
    /// Its value is `()`, and it needs no semicolon.
    Block,
}

impl LastExpression {
    fn of(statement: &Stmt) -> Option<Self> {
        let of_macro = |path: &syn::Path| {
            let silent = path.get_ident().is_some_and(|name| SILENT.contains(&name.to_string().as_str()));
            if silent { Self::Unit } else { Self::Value }
        };
        let expression = match statement {
            Stmt::Macro(of) => return Some(of_macro(&of.mac.path)),
            Stmt::Expr(expression, _) => expression,
            _ => return None,
        };
        Some(match expression {
            Expr::Macro(of) => of_macro(&of.mac.path),
            Expr::ForLoop(_) | Expr::While(_) => Self::Block,
            Expr::If(of) if of.else_branch.is_none() => Self::Block,
            Expr::Assign(_) => Self::Unit,
            Expr::Binary(of) if is_assignment(&of.op) => Self::Unit,
            _ => Self::Value,
        })
    }
}

/// Whether an operator assigns: `+=` and the like.
fn is_assignment(operator: &BinOp) -> bool {
    use BinOp::*;
    matches!(
        operator,
        AddAssign(_)
            | SubAssign(_)
            | MulAssign(_)
            | DivAssign(_)
            | RemAssign(_)
            | BitXorAssign(_)
            | BitAndAssign(_)
            | BitOrAssign(_)
            | ShlAssign(_)
            | ShrAssign(_)
    )
}

/// Whether a statement contains an `.await` outside of items, closures and async blocks.
fn awaits(statement: &Stmt) -> bool {
    struct Search(bool);
    impl<'a> Visit<'a> for Search {
        fn visit_expr_await(&mut self, _: &'a syn::ExprAwait) {
            self.0 = true;
        }
        fn visit_expr_async(&mut self, _: &'a syn::ExprAsync) {}
        fn visit_item(&mut self, _: &'a Item) {}
        fn visit_expr_closure(&mut self, _: &'a syn::ExprClosure) {}
        fn visit_macro(&mut self, of: &'a syn::Macro) {
            self.0 |= of.tokens.to_string().replace(' ', "").contains(".await");
        }
    }
    let mut search = Search(false);
    visit::visit_stmt(&mut search, statement);
    search.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::CATALOGUE;
    use crate::testing::FakeHost;

    fn source(inputs: &[&str]) -> String {
        let fake = FakeHost::default().with_cells(inputs);
        Program::of(CATALOGUE, &fake, &fake.inputs(0).unwrap()).source("")
    }

    #[test]
    fn the_last_definition_of_a_name_is_used_with_its_impl_blocks() {
        let text = source(&[
            "struct A;\nimpl A { fn f() -> u8 { 1 } }\nuse std::fmt::{self, Debug};",
            "struct A(u8);\nimpl A { fn f() -> u8 { 2 } }\nuse std::collections::HashMap as Debug;",
        ]);
        assert!(text.contains("struct A(u8);\n\nimpl A { fn f() -> u8 { 2 } }"), "{text}");
        assert!(!text.contains("struct A;") && !text.contains("{ 1 }") && !text.contains("fmt::Debug"), "{text}");
        assert!(text.contains("use std::collections::HashMap as Debug;\nuse std::fmt;\n"), "{text}");
    }

    #[test]
    fn statements_stay_in_order_and_values_are_printed() {
        let text = source(&[
            "let x = 1; // one\nx",
            "// twice\nx * 2 // 2",
            "println!(\"{x}\")",
            "for _ in 0..1 {}",
            "let y = x;\n%who\ny;",
        ]);
        let main = text.split("fn main").nth(1).unwrap();
        let wanted = "{\n// Cell 1\nlet x = 1; // one\nshow_value!(x);\n\n\
                      // Cell 2\n// twice\nshow_value!(x * 2); // 2\n\n\
                      // Cell 3\nprintln!(\"{x}\");\n\n// Cell 4\nfor _ in 0..1 {}\n\n\
                      // Cell 5\nlet y = x;\n// %who\ny;\n";
        assert!(main.contains(wanted), "{main}");
    }

    #[test]
    fn rust_of_magics_is_included_and_other_magics_are_comments() {
        let text = source(&[
            "%time let a = 1;",
            "%%time\nlet b = 2;",
            "%%bash\nls\n\npwd",
            "!ls",
            "%timeit a + b",
            ":dep rand",
        ]);
        for part in
            ["\nlet a = 1;\n", "\nlet b = 2;\n", "// %%bash\n// ls\n//\n// pwd\n", "// !ls\n", "// %timeit a + b\n"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains(":dep") && !text.contains("Cell 6"), "{text}");
    }

    #[test]
    fn a_cell_that_ran_again_is_included_once_and_a_reset_removes_earlier_cells() {
        let text = source(&["let lost = 0;", "%reset -f", "let a = 1;", "let b = a;", "let a = 1;"]);
        assert!(!text.contains("lost") && text.matches("let a = 1;").count() == 1, "{text}");
        assert!(text.find("let a").unwrap() < text.find("let b").unwrap(), "{text}");
    }

    #[test]
    fn code_that_does_not_parse_becomes_a_comment() {
        let fake = FakeHost::default().with_cells(&["let x = yes(no;", "let y = 1;"]);
        let program = Program::of(CATALOGUE, &fake, &fake.inputs(0).unwrap());
        assert_eq!((program.cells, &program.skipped[..]), (2, &[1][..]));
        assert!(program.source("").contains("// let x = yes(no;\n"));
    }
}
