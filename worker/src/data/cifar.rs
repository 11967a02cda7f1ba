//! CIFAR-10 binary records: a label byte, then 1024 red, 1024 green and 1024 blue bytes, rows first.

use std::fs;

use trainyard_wire::dataset::{CIFAR_RECORD_BYTES, FileRole};

use super::{DataError, Images, LocalDataset};

/// Height and width of a record's image.
pub const SIDE: usize = 32;

/// All images of a role, file by file in the order of the upload; only those with `label`, if one is given.
///
/// # Errors
/// Where a file cannot be read or is not made of records, or where no image is left.
pub fn load(dataset: &LocalDataset, role: FileRole, label: Option<u8>) -> Result<Images, DataError> {
    let mut pixels = Vec::new();
    for file in dataset.files.iter().filter(|file| file.role == role) {
        let bytes = fs::read(&file.path).map_err(|source| DataError::File { path: file.path.clone(), source })?;
        append(&bytes, label, &mut pixels).map_err(|reason| DataError::Records(format!("a {role} file of {}: {reason}", dataset.name)))?;
    }
    if pixels.is_empty() {
        return Err(DataError::Records(format!("the dataset {} has no {role} images of the wanted category", dataset.name)));
    }
    Images::new(SIDE, SIDE, pixels)
}

fn append(bytes: &[u8], label: Option<u8>, pixels: &mut Vec<u8>) -> Result<(), String> {
    const RECORD: usize = CIFAR_RECORD_BYTES as usize;
    let (records, rest) = bytes.as_chunks::<RECORD>();
    if !rest.is_empty() {
        return Err(format!("{} bytes are not a whole number of records of {RECORD}", bytes.len()));
    }
    for (found, image) in records.iter().filter_map(|record| record.split_first()) {
        if label.is_none_or(|label| label == *found) {
            pixels.extend_from_slice(image);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use trainyard_wire::dataset::DatasetKind;

    use super::super::LocalFile;
    use super::*;

    #[test]
    fn images_of_a_role_and_a_label_come_in_the_order_of_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, role, records: &[(u8, u8)]| {
            let path = folder.path().join(name);
            let bytes: Vec<u8> = records.iter().flat_map(|(label, fill)| [vec![*label], vec![*fill; 3072]].concat()).collect();
            fs::write(&path, bytes).unwrap();
            LocalFile { role, path }
        };
        let files = vec![
            file("b", FileRole::Train, &[(7, 1), (3, 2)]),
            file("v", FileRole::Val, &[(7, 9)]),
            file("a", FileRole::Train, &[(3, 3), (7, 4)]),
        ];
        let dataset = LocalDataset { name: "animals".to_owned(), kind: DatasetKind::Images, sha256: String::new(), files };
        let firsts = |images: Images| (0..images.count()).map(|image| images.planes(image)[0][0]).collect::<Vec<_>>();
        assert_eq!(firsts(load(&dataset, FileRole::Train, None).unwrap()), [1, 2, 3, 4]);
        assert_eq!(firsts(load(&dataset, FileRole::Train, Some(7)).unwrap()), [1, 4]);
        assert_eq!(firsts(load(&dataset, FileRole::Val, Some(7)).unwrap()), [9]);
        assert!(matches!(load(&dataset, FileRole::Val, Some(1)), Err(DataError::Records(_))));
    }

    #[test]
    fn a_file_that_ends_inside_a_record_is_refused() {
        assert!(append(&[7; 3072], None, &mut Vec::new()).unwrap_err().contains("whole number of records"));
    }
}
