//! weir: to be written.
fn main() {}
