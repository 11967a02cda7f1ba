//! Has the crate built anew when a migration is added: `sqlx::migrate!` notices only changes of those it has seen.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
