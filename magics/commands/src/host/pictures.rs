//! An output that shows each chart as a PNG picture too.

use super::{Bundle, Output, Session, Stream};
use std::sync::Arc;

/// An output that wants pictures, and passes everything on to another one.
pub struct WithPng<'a>(Inner<'a>);

enum Inner<'a> {
    OfCell(&'a dyn Output),
    Detached(Arc<dyn Output>),
}

impl<'a> WithPng<'a> {
    pub fn new(output: &'a dyn Output) -> Self {
        Self(Inner::OfCell(output))
    }

    fn inner(&self) -> &dyn Output {
        match &self.0 {
            Inner::OfCell(output) => *output,
            Inner::Detached(output) => &**output,
        }
    }
}

impl Output for WithPng<'_> {
    fn display(&self, bundle: Bundle, display_id: Option<&str>) {
        self.inner().display(bundle, display_id);
    }

    fn update(&self, bundle: Bundle, display_id: &str) {
        self.inner().update(bundle, display_id);
    }

    fn print(&self, stream: Stream, text: &str) {
        self.inner().print(stream, text);
    }

    fn page(&self, bundle: Bundle) {
        self.inner().page(bundle);
    }

    fn cell(&self) -> Option<String> {
        self.inner().cell()
    }

    fn detached(&self) -> Option<Arc<dyn Output>> {
        let detached = self.inner().detached()?;
        Some(Arc::new(WithPng(Inner::Detached(detached))))
    }

    fn wants_png(&self) -> bool {
        true
    }

    fn session(&self) -> Option<&dyn Session> {
        self.inner().session()
    }
}
