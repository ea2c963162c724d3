//! The program `ipfs-accelerate`.

fn main() {}
