//! MIME bundles: several representations of one thing. A front end shows the richest one that it supports.

use crate::channel::print_whole;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_core::Serialize;
use serde_json::{Map, Value, json};
use std::fmt::{Debug, Write};

const TEXT: &str = "text/plain";

/// A MIME bundle: representations of one thing by MIME type. It always has a `text/plain`; if none was given, a line
/// that describes the others.
///
/// ```no_run
/// # use tunebook_cell as tunebook;
/// use tunebook::Bundle;
/// tunebook::display(&Bundle::new().html("<b>12</b> of 14").text("12 of 14"));
/// let pie = r#"{ "data": [{ "type": "pie", "values": [2, 3] }] }"#;
/// tunebook::display(&Bundle::new().with("application/vnd.plotly.v1+json", pie));
/// ```
///
/// As the last expression of a cell, a bundle is the value of the cell.
#[derive(Clone, Default, PartialEq)]
pub struct Bundle {
    data: Map<String, Value>,
    metadata: Map<String, Value>,
    /// A line for each representation that could not be serialized, with the reason.
    missing: Vec<String>,
}

impl Bundle {
    /// An empty bundle.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds plain text, for consoles.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.string(TEXT, text)
    }

    /// Adds HTML.
    pub fn html(self, html: impl Into<String>) -> Self {
        self.string("text/html", html)
    }

    /// Adds Markdown.
    pub fn markdown(self, markdown: impl Into<String>) -> Self {
        self.string("text/markdown", markdown)
    }

    /// Adds LaTeX. It includes the `$` or the environment that makes it mathematics.
    pub fn latex(self, latex: impl Into<String>) -> Self {
        self.string("text/latex", latex)
    }

    /// Adds an SVG picture.
    pub fn svg(self, svg: impl Into<String>) -> Self {
        self.string("image/svg+xml", svg)
    }

    /// Adds a PNG picture; the argument is the content of the file.
    pub fn png(self, png: impl AsRef<[u8]>) -> Self {
        self.bytes("image/png", png.as_ref())
    }

    /// Adds a JPEG picture; the argument is the content of the file.
    pub fn jpeg(self, jpeg: impl AsRef<[u8]>) -> Self {
        self.bytes("image/jpeg", jpeg.as_ref())
    }

    /// Adds data that front ends show as a tree.
    pub fn json(mut self, value: impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(value) => drop(self.data.insert("application/json".into(), value)),
            Err(error) => self.missing.push(format!("application/json is missing: {error}")),
        }
        self
    }

    /// Adds any other representation. If the MIME type ends in `+json`, a text that contains JSON is parsed.
    pub fn with(mut self, mime: impl Into<String>, value: impl Serialize) -> Self {
        let mime = mime.into();
        match serde_json::to_value(value) {
            Ok(Value::String(text)) if is_json(&mime) => {
                let value = text.parse().unwrap_or(Value::String(text));
                self.data.insert(mime, value);
            }
            Ok(value) => drop(self.data.insert(mime, value)),
            Err(error) => self.missing.push(format!("{mime} is missing: {error}")),
        }
        self
    }

    /// Adds metadata of a representation. For `image/png` this is an object with `width` and `height` in pixels.
    pub fn metadata(mut self, mime: impl Into<String>, value: impl Serialize) -> Self {
        let mime = mime.into();
        match serde_json::to_value(value) {
            Ok(value) => drop(self.metadata.insert(mime, value)),
            Err(error) => self.missing.push(format!("metadata of {mime} are missing: {error}")),
        }
        self
    }

    /// A representation that was added.
    pub fn get(&self, mime: &str) -> Option<&Value> {
        self.data.get(mime)
    }

    /// The plain text of the bundle, with a line for each representation that is missing.
    pub fn plain(&self) -> String {
        let given = self.data.get(TEXT).and_then(Value::as_str).map(String::from);
        let mut text = given.unwrap_or_else(|| self.described());
        for missing in &self.missing {
            let _ = write!(text, "{}{missing}", if text.is_empty() { "" } else { "\n" });
        }
        text
    }

    /// Prints the bundle as the value of a cell. evcxr calls this method.
    pub fn evcxr_display(&self) {
        print_whole(&self.blocks());
    }

    /// The representations, `text/plain` included, and the metadata.
    pub(crate) fn parts(self) -> (Value, Value) {
        let text = self.plain();
        let Self { mut data, metadata, .. } = self;
        data.insert(TEXT.into(), text.into());
        (data.into(), metadata.into())
    }

    fn string(mut self, mime: &str, text: impl Into<String>) -> Self {
        self.data.insert(mime.into(), json!(text.into()));
        self
    }

    fn bytes(self, mime: &str, bytes: &[u8]) -> Self {
        let text = BASE64_STANDARD.encode(bytes);
        self.string(mime, text)
    }

    /// The representations as blocks of evcxr's display convention.
    fn blocks(&self) -> String {
        let (data, _) = self.clone().parts();
        let mut blocks = String::new();
        for (mime, value) in data.as_object().into_iter().flatten() {
            // JSON is written on one line, other text as it is.
            let text = match value {
                Value::String(text) if !is_json(mime) => text.clone(),
                value => value.to_string(),
            };
            let _ = writeln!(blocks, "EVCXR_BEGIN_CONTENT {mime}\n{text}\nEVCXR_END_CONTENT");
        }
        blocks
    }

    /// A text that describes the representations.
    fn described(&self) -> String {
        let text = |mime: &str| self.data.get(mime).and_then(Value::as_str);
        if let Some(text) = text("text/markdown").or(text("text/latex")) {
            return text.into();
        }
        if let Some(html) = text("text/html") {
            return format!("HTML, {} characters", html.chars().count());
        }
        if let Some(value) = self.data.get("application/json") {
            return format!("{value:#}");
        }
        if let Some(png) = text("image/png") {
            return match png_size(png) {
                Some((width, height)) => format!("PNG picture, {width} × {height}"),
                None => "PNG picture".into(),
            };
        }
        for (mime, what) in [("image/jpeg", "JPEG picture"), ("image/svg+xml", "SVG picture")] {
            if self.data.contains_key(mime) {
                return what.into();
            }
        }
        let others: Vec<&str> = self.data.keys().map(String::as_str).collect();
        others.join(", ")
    }
}

/// Types that can be displayed. Every type that implements `Debug` is displayed as that text.
///
/// A type with other representations implements this trait and not `Debug`:
///
/// ```no_run
/// # use tunebook_cell as tunebook;
/// use tunebook::{Bundle, ToBundle};
///
/// struct Dot(&'static str);
///
/// impl ToBundle for Dot {
///     fn to_bundle(&self) -> Bundle {
///         let circle = format!("<circle cx='9' cy='9' r='8' fill='{}'/>", self.0);
///         Bundle::new().svg(format!("<svg width='18' height='18' xmlns='http://www.w3.org/2000/svg'>{circle}</svg>"))
///     }
/// }
///
/// tunebook::display(&Dot("teal"));
/// ```
///
/// The last expression of a cell is not shown by this trait, but by a method `evcxr_display(&self)` of its type, or
/// else by `Debug`. So call [`display`](crate::display()), or give the type that method, with the body
/// `self.to_bundle().evcxr_display()`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be displayed",
    label = "neither `Debug` nor `tunebook::ToBundle`",
    note = "derive `Debug` for it, or implement `tunebook::ToBundle`"
)]
pub trait ToBundle {
    /// The representations of the value.
    fn to_bundle(&self) -> Bundle;
}

impl<T: Debug + ?Sized> ToBundle for T {
    fn to_bundle(&self) -> Bundle {
        Bundle::new().text(format!("{self:?}"))
    }
}

impl ToBundle for Bundle {
    fn to_bundle(&self) -> Bundle {
        self.clone()
    }
}

fn is_json(mime: &str) -> bool {
    mime == "application/json" || mime.ends_with("+json")
}

/// The width and height of a PNG picture in base64. They are in the first 24 bytes of the file.
fn png_size(encoded: &str) -> Option<(u32, u32)> {
    let head = BASE64_STANDARD.decode(encoded.get(..32)?).ok()?;
    let number = |at: usize| Some(u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?));
    if !head.starts_with(b"\x89PNG\r\n\x1a\n") {
        return None;
    }
    Some((number(16)?, number(20)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn text(bundle: &Bundle) -> String {
        bundle.plain()
    }

    #[test]
    fn a_bundle_always_has_text() {
        assert_eq!(text(&Bundle::new().html("<b>a</b>").text("a")), "a");
        assert_eq!(text(&Bundle::new().html("<b>é</b>")), "HTML, 8 characters");
        assert_eq!(text(&Bundle::new().html("<p>").markdown("*a*")), "*a*");
        assert_eq!(text(&Bundle::new().latex("$x$")), "$x$");
        assert_eq!(text(&Bundle::new().json([1, 2])), "[\n  1,\n  2\n]");
        assert_eq!(text(&Bundle::new().svg("<svg/>")), "SVG picture");
        assert_eq!(text(&Bundle::new().jpeg(b"\xff\xd8")), "JPEG picture");
        assert_eq!(text(&Bundle::new().with("a/b", 1)), "a/b");
        let (data, _) = Bundle::new().with("a/b", 1).parts();
        assert_eq!(data, json!({ "a/b": 1, "text/plain": "a/b" }));
    }

    #[test]
    fn the_text_of_a_png_picture_has_its_size() {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        png.extend([0, 0, 2, 128, 0, 0, 1, 224, 8, 2, 0, 0, 0]);
        let bundle = Bundle::new().png(&png);
        assert_eq!(text(&bundle), "PNG picture, 640 × 480");
        assert_eq!(bundle.get("image/png").unwrap(), &json!(BASE64_STANDARD.encode(&png)));
        assert_eq!(text(&Bundle::new().png(b"no picture, but long enough to be one")), "PNG picture");
        assert_eq!(text(&Bundle::new().png(b"")), "PNG picture");
    }

    #[test]
    fn text_of_a_json_type_is_parsed_and_other_text_stays() {
        let bundle = Bundle::new().with("application/vnd.a+json", "{\"a\": [1]}").with("text/csv", "1").json("2");
        assert_eq!(bundle.get("application/vnd.a+json").unwrap(), &json!({ "a": [1] }));
        assert_eq!(
            (bundle.get("text/csv").unwrap(), bundle.get("application/json").unwrap()),
            (&json!("1"), &json!("2"))
        );
        assert_eq!(Bundle::new().with("a/b+json", "{").get("a/b+json").unwrap(), &json!("{"));
    }

    #[test]
    fn the_text_names_a_representation_that_cannot_be_serialized() {
        let keys = BTreeMap::from([((1, 2), 3)]);
        let bundle = Bundle::new().html("<p>").json(&keys);
        assert!(bundle.get("application/json").is_none());
        assert_eq!(text(&bundle), "HTML, 3 characters\napplication/json is missing: key must be a string");
    }

    #[test]
    fn a_debug_type_is_text_and_other_types_have_their_own_representations() {
        struct Own;
        impl ToBundle for Own {
            fn to_bundle(&self) -> Bundle {
                Bundle::new().html("<i>own</i>").text("own")
            }
        }
        assert_eq!(vec![Some(1)].to_bundle().plain(), "[Some(1)]");
        assert_eq!("a".to_bundle().plain(), "\"a\"");
        assert_eq!(Own.to_bundle().plain(), "own");
    }

    #[test]
    fn the_value_of_a_cell_is_printed_in_blocks() {
        let bundle = Bundle::new().html("<b>\n</b>").with("a/b+json", json!({ "a": "\n" })).text("t");
        let expected = "EVCXR_BEGIN_CONTENT text/html\n<b>\n</b>\nEVCXR_END_CONTENT\n\
                        EVCXR_BEGIN_CONTENT a/b+json\n{\"a\":\"\\n\"}\nEVCXR_END_CONTENT\n\
                        EVCXR_BEGIN_CONTENT text/plain\nt\nEVCXR_END_CONTENT\n";
        assert_eq!(bundle.blocks(), expected);
    }
}
