//! The peer of our kernel, as its authors publish it.

fn main() -> anyhow::Result<()> {
    evcxr_jupyter::main()
}
