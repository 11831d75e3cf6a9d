//! The smallest program that can stand in for the compiler.

fn main() {
    azureml_kernel_helpers::rustc_wrapper_hook(None);
}
