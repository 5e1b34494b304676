//! Sends the script that draws charts to the front end.

use crate::host::{Output, plain};
use parking_lot::Mutex;
use serde_json::json;
use tunebook_charts::html;

/// Remembers which cell's output contains the script that draws charts. It is large, so it is sent once, before the
/// first chart. It comes again when that output is gone: when its cell runs again, also without a chart, and before the
/// next chart after the cell was deleted or has cleared its output.
#[derive(Default)]
pub struct ChartLoader {
    /// The cell whose output contains the script.
    loaded_in: Mutex<Option<String>>,
}

impl ChartLoader {
    /// Sends the script, unless the output of another cell contains it already.
    pub fn load(&self, output: &dyn Output) {
        let Some(cell) = output.cell() else { return };
        let mut loaded_in = self.loaded_in.lock();
        if loaded_in.is_some() {
            return;
        }
        *loaded_in = Some(cell);
        let mut bundle = plain("");
        bundle.insert("text/html".into(), json!(html::loader()));
        output.display(bundle, None);
    }

    /// Call this when a cell begins to run, which removes its old output. `deleted` are the cells that the user has
    /// deleted.
    pub fn begin(&self, output: &dyn Output, deleted: &[String]) {
        let Some(cell) = output.cell() else { return };
        let had_the_script = self.loaded_in.lock().as_ref() == Some(&cell);
        self.lose(&cell);
        for deleted in deleted {
            self.lose(deleted);
        }
        // Charts of other cells need the script when the notebook is opened again.
        if had_the_script {
            self.load(output);
        }
    }

    /// Call this when the output of a cell is gone.
    pub fn lose(&self, cell: &str) {
        self.loaded_in.lock().take_if(|loaded_in| loaded_in == cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeHost;

    #[test]
    fn the_script_is_in_one_cell_and_comes_back_when_that_output_is_gone() {
        let (charts, cells) = (ChartLoader::default(), ["a", "b", "c"].map(|cell| FakeHost::default().in_cell(cell)));
        let sent = || cells.each_ref().map(|cell| cell.shown().len());
        for cell in [&cells[0], &cells[1], &cells[1], &cells[0]] {
            charts.load(cell);
        }
        assert_eq!(sent(), [1, 0, 0]);
        charts.begin(&cells[1], &[]);
        assert_eq!(sent(), [1, 0, 0], "another cell runs again");
        charts.begin(&cells[0], &[]);
        charts.load(&cells[0]);
        assert_eq!(sent(), [2, 0, 0], "its cell runs again");
        charts.begin(&cells[1], &["a".into()]);
        assert_eq!(sent(), [2, 0, 0], "its cell was deleted, but no chart follows");
        charts.load(&cells[2]);
        charts.load(&cells[1]);
        assert_eq!(sent(), [2, 0, 1]);
        charts.lose("b");
        charts.lose("c");
        charts.load(&cells[1]);
        assert_eq!(sent(), [2, 1, 1], "its output was cleared");
    }
}
