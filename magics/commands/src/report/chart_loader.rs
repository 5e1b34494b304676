//! The script that draws charts, sent to a front end once.

use crate::host::{Output, plain};
use parking_lot::Mutex;
use serde_json::json;
use tunebook_charts::html;

/// Remembers which cell carries the script that draws charts. The script is sent with the first chart, and again when the
/// cell that carried it runs again, since that wipes its output. A front end that does not name its cells gets the script
/// with each chart.
#[derive(Default)]
pub struct ChartLoader {
    /// The front end's id of the cell that carries the script.
    carrier: Mutex<Option<String>>,
}

impl ChartLoader {
    /// Sends the script where the front end does not have it.
    pub fn load(&self, output: &dyn Output) {
        let cell = output.cell_id();
        let mut carrier = self.carrier.lock();
        if cell.is_some() && carrier.is_some() && *carrier != cell {
            return;
        }
        *carrier = cell;
        let mut bundle = plain("");
        bundle.insert("text/html".into(), json!(html::loader()));
        output.display(bundle, None);
    }
}
