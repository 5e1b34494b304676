//! A slot as a program, for the tests of the pool: `slot --worker PATH`.

fn main() -> std::process::ExitCode {
    let worker = std::env::args().nth(2).unwrap_or_default();
    tunebook_pool::slot::main(worker.into())
}
