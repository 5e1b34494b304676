//! Sends the script that draws charts to the front end.

use crate::host::{Output, plain};
use parking_lot::Mutex;
use serde_json::json;
use tunebook_charts::html;

/// Remembers which cell's output contains the script that draws charts. The script is sent before the first chart. It
/// is sent again when that cell runs again, because this removes the old output of the cell. A front end that sends no
/// cell ids gets the script before each chart.
#[derive(Default)]
pub struct ChartLoader {
    /// The front end's id of the cell whose output contains the script.
    loaded_in: Mutex<Option<String>>,
}

impl ChartLoader {
    /// Sends the script, unless the output of another cell contains it already.
    pub fn load(&self, output: &dyn Output) {
        let cell = output.cell_id();
        let mut loaded_in = self.loaded_in.lock();
        if cell.is_some() && loaded_in.is_some() && *loaded_in != cell {
            return;
        }
        *loaded_in = cell;
        let mut bundle = plain("");
        bundle.insert("text/html".into(), json!(html::loader()));
        output.display(bundle, None);
    }
}
