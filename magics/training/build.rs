//! Compiles the libtorch shim and stores the folder of libtorch in the executables (their rpath).

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=src/libtorch/shim.cpp");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Some(root) = std::env::var_os("LIBTORCH").map(PathBuf::from) else {
        panic!("LIBTORCH is not set; `.cargo/config.toml` sets it, so call cargo inside the repository");
    };
    // LIBTORCH may be a symbolic link. The rpath must stay valid after that link is removed.
    let Ok(root) = root.canonicalize() else {
        panic!(
            "there is no libtorch: LIBTORCH is {}, which does not exist; `cargo demo` or `cargo verify` sets it up",
            root.display()
        );
    };
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .include(root.join("include"))
        .include(root.join("include/torch/csrc/api/include"))
        .file("src/libtorch/shim.cpp")
        // The warnings would come from libtorch's headers.
        .warnings(false)
        .flag_if_supported("-w")
        .compile("tunebook_libtorch_shim");
    let lib = root.join("lib").canonicalize().unwrap_or_else(|_| root.join("lib"));
    println!("cargo:rustc-env=TUNEBOOK_LIBTORCH={}", root.display());
    println!("cargo:rustc-link-search=native={}", lib.display());
    println!("cargo:rustc-link-lib=dylib=torch_cpu");
    println!("cargo:rustc-link-lib=dylib=c10");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    println!("cargo:rustc-link-arg=-Wl,--as-needed");
}
