//! What runs are trained on: image sets with their palettes, and tables, from files on this machine.
//!
//! | module | |
//! |---|---|
//! | [`files`] | uploaded files, kept by their hash |
//! | [`cifar`], [`scenes`] | images: CIFAR binary records, and the built-in procedural ones |
//! | [`palette`] | k-means over pixels, and the class of a pixel |
//! | [`prepared`] | image sets ready for training, kept in memory between the runs of a sweep |
//! | [`table`], [`problem`] | CSV files, and the regression problem of a spec |
//! | [`problems`] | regression problems with their spectra, kept in memory between the runs of a sweep |
//!
//! Everything here is a function of bytes and seeds: any number of threads gives the same bits.

pub mod cifar;
mod error;
pub mod files;
pub mod images;
pub mod palette;
pub mod prepared;
pub mod problem;
pub mod problems;
pub mod scenes;
pub mod table;

pub use error::DataError;
pub use files::{FileStore, LocalDataset, LocalFile};
pub use images::Images;
pub use palette::Palette;
pub use prepared::{Prepared, PreparedCache};
pub use problems::{ProblemCache, SharedProblem};
