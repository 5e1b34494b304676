//! The Tunebook kernel.
fn main() {
    evcxr::runtime_hook();
}
