//! A minimal program that can replace the compiler in cargo.

fn main() {
    azureml_kernel_helpers::rustc_wrapper_hook(None);
}
