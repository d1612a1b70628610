//! The members as they stand.

pub fn order(members: usize) -> Vec<usize> {
    (0..members).collect()
}
