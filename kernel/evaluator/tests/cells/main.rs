//! Cells from outside: what is run, what comes back.
//!
//! This binary is also the cell process and the compiler's wrapper, as the kernel's binary is; so it has a `main` of its own. One evaluator
//! serves many checks, for it takes seconds to start.

mod asking;
mod building;
mod dying;
mod errors;
mod exporting;
mod fuzz;
mod habits;
mod helper_crates;
mod importing;
mod killed;
mod meaning;
mod mistakes;
mod notebooks;
mod output;
mod outside;
mod programs;
mod stopping;
mod support;
mod surroundings;
mod values;

use support::Check;

fn main() {
    azureml_kernel_evaluator::child_hook();
    killed::play_victim();
    surroundings::play_kernel();
    let checks: Vec<Check> = [
        output::CHECKS,
        values::CHECKS,
        errors::CHECKS,
        asking::CHECKS,
        dying::CHECKS,
        stopping::CHECKS,
    ]
    .concat();
    support::run(
        &checks,
        &[helper_crates::CHECKS, killed::CHECKS].concat(),
        &[
            building::CHECKS,
            exporting::CHECKS,
            fuzz::CHECKS,
            importing::CHECKS,
            habits::CHECKS,
            meaning::CHECKS,
            mistakes::CHECKS,
            outside::CHECKS,
            programs::CHECKS,
            surroundings::CHECKS,
            dying::OF_RUSTC,
            output::OF_RUSTC,
            errors::OF_RUSTC,
        ]
        .concat(),
    );
}
