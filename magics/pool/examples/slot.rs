//! A slot as a program, for the tests of the pool: `slot --worker PATH`. `slot guard` is a guard.

fn main() -> std::process::ExitCode {
    if std::env::args().nth(1).as_deref() == Some("guard") {
        return tunebook_pool::guard::main();
    }
    let worker = std::env::args().nth(2).unwrap_or_default();
    tunebook_pool::slot::main(worker.into())
}
