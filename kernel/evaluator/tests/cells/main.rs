//! Tests of the evaluator through its public API: cells are executed, and their results are
//! checked.
//!
//! Like the kernel's binary, this binary is also the cell process and the compiler wrapper, so it
//! has a custom `main`. An evaluator takes seconds to start, so many checks share one.

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
    azureml_kernel_evcxr::child_hook();
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
