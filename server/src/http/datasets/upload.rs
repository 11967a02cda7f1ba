//! `POST /v1/datasets`.

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest as _, Request, State};
use axum::http::header;
use axum::response::Response;
use trainyard_wire::Problem;
use trainyard_wire::dataset::{Dataset, DatasetKind, FileRole, SYNTHETIC};

use super::super::app::{App, Shared};
use super::super::extract::{body_error, refuse_announced};
use super::super::problem::ApiError;
use super::bounded::{BoundedForm, FormError, Gauge};
use super::images::{LABELS, Records};
use super::stored;
use super::table::TableReader;
use crate::names::is_device;
use crate::store::{DatasetError, NewDataset, NewDatasetFile};

/// Most files of a dataset.
const MOST_FILES: usize = 1000;
/// Most bytes of a form beside the contents of its parts.
const MOST_AROUND: u64 = 1 << 20;
/// Longest text field.
const MOST_TEXT: u64 = 1000;
/// Bytes of a table that are read in one go, while everything else on the thread waits: well under a millisecond.
const AT_ONCE: usize = 16 << 10;
/// How long the rest of a refused upload is still read.
const LINGER: Duration = Duration::from_secs(20);

/// Uploads a dataset: a text field `name`, then CIFAR binary records in `train` and `val` (each may repeat), or one CSV file in `csv`.
///
/// A name is given once: the same name with the same bytes answers 200 and the dataset that is there, with other bytes 409.
#[utoipa::path(post, path = "/v1/datasets", tag = "datasets",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "Stored", body = Dataset), (status = 200, description = "Was there already", body = Dataset),
        (status = 409, description = "The name has other bytes", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not CIFAR records, or not a table of finite numbers", body = Problem,
            content_type = "application/problem+json")))]
pub(crate) async fn upload(State(app): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media.to_ascii_lowercase().starts_with("multipart/form-data") {
        return Err(ApiError::MediaType("multipart/form-data"));
    }
    refuse_announced(request.headers(), app.limits.upload_bytes)?;
    let mut form = Form::open(&app, request, app.limits.upload_bytes).await?;
    let dataset = match receive(&app, &mut form).await {
        Ok(dataset) => dataset,
        Err(error) => {
            // The answer does not wait for it.
            tokio::spawn(form.drain());
            return Err(error);
        }
    };
    let is_new = app.store.dataset(&dataset.name).await?.is_none();
    let dataset = app.store.insert_dataset(dataset).await.map_err(|error| match error {
        DatasetError::NameTaken { .. } => ApiError::Conflict(error.to_string()),
        DatasetError::Store(error) => error.into(),
    })?;
    Ok(stored(dataset, is_new))
}

/// The form, for the documentation.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "documents the form, which is read field by field")]
struct UploadForm {
    name: String,
    #[schema(value_type = Vec<String>, format = Binary)]
    train: Option<Vec<u8>>,
    #[schema(value_type = Vec<String>, format = Binary)]
    val: Option<Vec<u8>>,
    #[schema(value_type = String, format = Binary)]
    csv: Option<Vec<u8>>,
}

/// What arrived so far.
struct Received {
    name: Option<String>,
    files: Vec<NewDatasetFile>,
    labels: [u64; LABELS],
    columns: Vec<String>,
    /// Bytes that may still come.
    left: u64,
}

/// A form and what its body is told of the progress with it.
pub(in crate::http) struct Form {
    parts: Multipart,
    gauge: Gauge,
}

impl Form {
    /// A request's form, whose parts have about `limit` bytes at most; whoever reads them counts.
    pub(in crate::http) async fn open(app: &Shared, request: Request, limit: u64) -> Result<Self, ApiError> {
        let gauge = Gauge::default();
        let limit = limit.saturating_add(MOST_AROUND);
        let request = request.map(|body| Body::from_stream(BoundedForm::new(body, limit, gauge.clone())));
        let parts = Multipart::from_request(request, app).await.map_err(|error| ApiError::Malformed(error.to_string()))?;
        Ok(Self { parts, gauge })
    }

    /// The next part, and the gauge that its pieces move.
    pub(in crate::http) async fn next(&mut self, limit: u64) -> Result<Option<(Field<'_>, Gauge)>, ApiError> {
        let field = self.parts.next_field().await.map_err(|error| form_error(&error, limit))?;
        self.gauge.progressed();
        Ok(field.map(|field| (field, self.gauge.clone())))
    }

    /// Reads on without keeping anything: a client that is still sending when the connection closes sees a broken pipe instead of the
    /// answer.
    pub(in crate::http) async fn drain(mut self) {
        self.gauge.discard();
        let rest = async { while let Ok(Some(_)) = self.parts.next_field().await {} };
        if tokio::time::timeout(LINGER, rest).await.is_err() {
            tracing::debug!("a refused upload was still being sent when it was cut off");
        }
    }
}

/// What a form that broke off means.
pub(in crate::http) fn form_error(error: &MultipartError, limit: u64) -> ApiError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref() {
            Some(FormError::TooLong) => return ApiError::TooLarge(limit),
            Some(FormError::Between) => return ApiError::Malformed(FormError::Between.to_string()),
            Some(FormError::Body(_)) | None => cause = error.source(),
        }
    }
    body_error(error)
}

async fn receive(app: &App, form: &mut Form) -> Result<NewDataset, ApiError> {
    let mut received = Received { name: None, files: Vec::new(), labels: [0; LABELS], columns: Vec::new(), left: app.limits.upload_bytes };
    while let Some((mut field, gauge)) = form.next(app.limits.upload_bytes).await? {
        let field_name = field.name().unwrap_or_default().to_owned();
        if field_name == "name" {
            received.take_name(app, &mut field, &gauge).await?;
            continue;
        }
        let role: FileRole = field_name
            .parse()
            .map_err(|_| ApiError::invalid(format!("/{field_name}"), "is no field of an upload: these are name, train, val and csv"))?;
        if received.files.len() == MOST_FILES {
            return Err(ApiError::invalid(format!("/{role}"), format!("at most {MOST_FILES} files make a dataset")));
        }
        received.take_file(app, role, &mut field, &gauge).await?;
    }
    received.finish()
}

impl Received {
    async fn take_name(&mut self, app: &App, field: &mut Field<'_>, gauge: &Gauge) -> Result<(), ApiError> {
        let invalid = |detail: &str| ApiError::invalid("/name", detail);
        let mut text = Vec::new();
        while let Some(piece) = self.next_piece(app, field, gauge).await? {
            text.extend_from_slice(&piece);
            if text.len() as u64 > MOST_TEXT {
                return Err(invalid("is too long"));
            }
        }
        let name = String::from_utf8(text).map_err(|_| invalid("must be UTF-8"))?;
        if !is_name(&name) {
            return Err(invalid(
                "must begin with a letter or digit and go on with at most 99 letters, digits, `.`, `_` and `-`, and be no device",
            ));
        }
        if name == SYNTHETIC {
            return Err(invalid("is the name of the built-in image set"));
        }
        match self.name.replace(name) {
            None => Ok(()),
            Some(_) => Err(invalid("must be given once")),
        }
    }

    async fn take_file(&mut self, app: &App, role: FileRole, field: &mut Field<'_>, gauge: &Gauge) -> Result<(), ApiError> {
        let pointer = format!("/{role}/{}", self.files.iter().filter(|file| file.role == role).count());
        let is_table = role == FileRole::Csv;
        if self.files.iter().any(|file| is_table || file.role == FileRole::Csv) {
            return Err(ApiError::invalid(pointer, "a table is one csv file, an image set has train and val files"));
        }
        let name = display_name(field.file_name().unwrap_or_default(), role);
        let mut staging = app.store.stage().await?;
        let invalid = |detail| ApiError::invalid(&pointer, detail);
        let count = if is_table {
            let mut table = TableReader::new();
            while let Some(piece) = self.next_piece(app, field, gauge).await? {
                for part in piece.chunks(AT_ONCE) {
                    table.read(part).map_err(invalid)?;
                    tokio::task::yield_now().await;
                }
                staging.write(&piece).await?;
            }
            let table = table.finish().map_err(invalid)?;
            self.columns = table.columns;
            table.rows
        } else {
            let mut records = Records::default();
            while let Some(piece) = self.next_piece(app, field, gauge).await? {
                records.read(&piece).map_err(invalid)?;
                staging.write(&piece).await?;
            }
            let (count, labels) = records.finish().map_err(invalid)?;
            for (sum, count) in self.labels.iter_mut().zip(labels) {
                *sum += count;
            }
            count
        };
        // Fsynced only now that nothing is wrong with it.
        let blob = staging.finish().await?;
        self.files.push(NewDatasetFile { role, name, records: count, blob });
        Ok(())
    }

    async fn next_piece(&mut self, app: &App, field: &mut Field<'_>, gauge: &Gauge) -> Result<Option<axum::body::Bytes>, ApiError> {
        let Some(piece) = field.chunk().await.map_err(|error| form_error(&error, app.limits.upload_bytes))? else {
            return Ok(None);
        };
        gauge.progressed();
        self.left = self.left.checked_sub(piece.len() as u64).ok_or(ApiError::TooLarge(app.limits.upload_bytes))?;
        Ok(Some(piece))
    }

    fn finish(self) -> Result<NewDataset, ApiError> {
        let name = self.name.ok_or_else(|| ApiError::invalid("/name", "is required"))?;
        let has = |role| self.files.iter().any(|file| file.role == role);
        let kind = if has(FileRole::Csv) {
            DatasetKind::Table
        } else {
            if let Some(role) = [FileRole::Train, FileRole::Val].into_iter().find(|role| !has(*role)) {
                return Err(ApiError::invalid(format!("/{role}"), "an image set needs train and val files, a table one csv file"));
            }
            DatasetKind::Images
        };
        let labels = if kind == DatasetKind::Images { self.labels.to_vec() } else { Vec::new() };
        Ok(NewDataset { name, kind, files: self.files, columns: self.columns, labels })
    }
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=100).contains(&name.len()) && name.bytes().all(plain) && name.as_bytes()[0].is_ascii_alphanumeric() && !is_device(name)
}

/// The uploaded file's name as people see it; it is never a path.
fn display_name(given: &str, role: FileRole) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = last.chars().filter(|c| !c.is_control()).take(200).collect();
    if name.is_empty() { role.to_string() } else { name }
}

#[cfg(test)]
mod tests {
    use trainyard_wire::dataset::FileRole;

    use super::{display_name, is_name};

    #[test]
    fn a_name_is_safe_in_a_path_and_in_a_url() {
        for name in ["cifar10", "a", "House-prices_2.csv", &"x".repeat(100)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".hidden", "-x", "a/b", "a b", "ä", "..", "con", "LPT1.csv", &"x".repeat(101)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn an_uploaded_file_keeps_the_last_part_of_its_name() {
        assert_eq!(display_name("../../etc/passwd", FileRole::Csv), "passwd");
        assert_eq!(display_name("C:\\data\\a.bin", FileRole::Train), "a.bin");
        assert_eq!(display_name("", FileRole::Val), "val");
    }
}
