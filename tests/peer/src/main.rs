//! The reference kernel, as its authors publish it.

fn main() -> anyhow::Result<()> {
    evcxr_jupyter::main()
}
