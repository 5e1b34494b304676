/// The output of a cell that `%%capture` has captured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Captured {
    /// The text that was printed to standard output.
    pub stdout: String,
    /// The text that was printed to standard error.
    pub stderr: String,
    /// The number of displays, the value of the cell included.
    pub displays: usize,
}

impl Captured {
    /// Prints the captured text.
    pub fn show(&self) {
        ::std::print!("{}", self.stdout);
        ::std::eprint!("{}", self.stderr);
    }
}
