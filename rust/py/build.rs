//! Exposes the interpreter's version as `cfg(Py_3_12)` and the like, and the optimisation level to the module, so that
//! benchmarks can refuse anything but a release build.
fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    let level = std::env::var("OPT_LEVEL").unwrap_or_default();
    println!("cargo::rustc-env=RUSTALCHEMY_OPT_LEVEL={level}");
}
