//! Receiving a picture, as the body or as the one file of a form: bounded, onto the disk as it comes.

use axum::extract::Request;
use axum::http::header;
use trainyard_wire::spec::picture::{MOST_PICTURE_BYTES, PictureFormat};

use super::super::app::Shared;
use super::super::datasets::upload::{Form, form_error};
use super::super::extract::{Pieces, discard, refuse_announced};
use super::super::problem::ApiError;
use crate::blobs::StagedBlob;

/// A picture that has arrived.
pub(super) struct Received {
    pub(super) blob: StagedBlob,
    /// What its sender says it is.
    pub(super) announced: Option<PictureFormat>,
}

/// Receives the picture of a request.
pub(super) async fn receive(app: &Shared, request: Request) -> Result<Received, ApiError> {
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let announced = PictureFormat::ALL.iter().copied().find(|format| format.media_type() == media);
    if announced.is_none() && media != "multipart/form-data" {
        return Err(ApiError::MediaType("image/png, image/jpeg, or multipart/form-data with one file"));
    }
    if announced.is_none() {
        return form(app, request).await;
    }
    if let Err(error) = refuse_announced(request.headers(), MOST_PICTURE_BYTES) {
        discard(request).await;
        return Err(error);
    }
    let mut pieces = Pieces::new(request, MOST_PICTURE_BYTES)?;
    let staged = pieces.stage(&app.store).await;
    if let Err(ApiError::TooLarge(_)) = staged {
        pieces.discard().await;
    }
    Ok(Received { blob: staged?, announced })
}

async fn form(app: &Shared, request: Request) -> Result<Received, ApiError> {
    let mut form = Form::open(app, request, MOST_PICTURE_BYTES).await?;
    match one_file(app, &mut form).await {
        Ok(blob) => Ok(Received { blob, announced: None }),
        Err(error) => {
            form.drain().await;
            Err(error)
        }
    }
}

async fn one_file(app: &Shared, form: &mut Form) -> Result<StagedBlob, ApiError> {
    let mut received = None;
    let mut left = MOST_PICTURE_BYTES;
    while let Some((mut field, gauge)) = form.next(MOST_PICTURE_BYTES).await? {
        let pointer = format!("/{}", field.name().unwrap_or_default());
        if field.file_name().is_none() {
            return Err(ApiError::invalid(pointer, "is not a file: the form has one file, the picture"));
        }
        if received.is_some() {
            return Err(ApiError::invalid(pointer, "is a second file: one picture is coloured at a time"));
        }
        let mut staging = app.store.stage().await?;
        while let Some(piece) = field.chunk().await.map_err(|error| form_error(&error, MOST_PICTURE_BYTES))? {
            gauge.progressed();
            left = left.checked_sub(piece.len() as u64).ok_or(ApiError::TooLarge(MOST_PICTURE_BYTES))?;
            staging.write(&piece).await?;
        }
        received = Some(staging.finish().await?);
    }
    received.ok_or_else(|| ApiError::invalid("", "the form has no file"))
}
