/// What `%%capture` kept of a cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Captured {
    /// What was printed to standard output.
    pub stdout: String,
    /// What was printed to standard error.
    pub stderr: String,
    /// How many values and displays were shown.
    pub displays: usize,
}

impl Captured {
    /// Prints it as the cell would have.
    pub fn show(&self) {
        ::std::print!("{}", self.stdout);
        ::std::eprint!("{}", self.stderr);
    }
}
