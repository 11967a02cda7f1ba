//! The points of a run's metrics in several files at once.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use tempfile::NamedTempFile;
use trainyard_wire::metric::MetricHistory;
use trainyard_wire::{Number, Timestamp};

use super::tensorboard::EventWriter;
use super::{partial_in, persist};

/// A file that is being written.
type Partial = BufWriter<NamedTempFile>;

/// The files of one run.
pub(super) struct PointFiles {
    folder: PathBuf,
    csv: Option<csv::Writer<Partial>>,
    ndjson: Option<Partial>,
    /// With its name.
    events: Option<(String, EventWriter<Partial>)>,
    points: u64,
}

/// A line of NDJSON, as `GET /v1/runs/{id}/metrics?format=ndjson` has it.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    step: u64,
    value: Number,
    time: Timestamp,
}

impl PointFiles {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), csv: None, ndjson: None, events: None, points: 0 }
    }

    fn partial(&self) -> anyhow::Result<Partial> {
        let file = partial_in(&self.folder).with_context(|| format!("cannot write into {}", self.folder.display()))?;
        Ok(BufWriter::new(file))
    }

    pub(super) fn add_csv(&mut self) -> anyhow::Result<()> {
        let mut writer = csv::Writer::from_writer(self.partial()?);
        writer.write_record(["name", "step", "value", "time"])?;
        self.csv = Some(writer);
        Ok(())
    }

    pub(super) fn add_ndjson(&mut self) -> anyhow::Result<()> {
        self.ndjson = Some(self.partial()?);
        Ok(())
    }

    /// The name has the time of the run's start, so that a run that is exported again replaces its file.
    pub(super) fn add_tensorboard(&mut self, started: Timestamp) -> anyhow::Result<()> {
        let name = format!("events.out.tfevents.{:010}.trainyard", started.0.div_euclid(1000).max(0));
        self.events = Some((name, EventWriter::begin(self.partial()?, started)?));
        Ok(())
    }

    pub(super) fn write(&mut self, page: &MetricHistory) -> anyhow::Result<()> {
        for series in &page.series {
            let name = series.name.as_str();
            for point in &series.points {
                if let Some(csv) = &mut self.csv {
                    let (step, value, time) = (point.step.to_string(), point.value.exact().to_string(), point.time.to_string());
                    csv.write_record([name, &step, &value, &time])?;
                }
                if let Some(ndjson) = &mut self.ndjson {
                    serde_json::to_writer(&mut *ndjson, &Line { name, step: point.step, value: point.value, time: point.time })?;
                    ndjson.write_all(b"\n")?;
                }
                if let Some((_, events)) = &mut self.events {
                    events.scalar(name, point)?;
                }
                self.points += 1;
            }
        }
        Ok(())
    }

    pub(super) fn points(&self) -> u64 {
        self.points
    }

    /// Gives the files their names; answers these.
    pub(super) fn finish(self) -> anyhow::Result<Vec<String>> {
        let csv = self.csv.map(|csv| csv.into_inner().map_err(|error| anyhow::anyhow!("cannot write metrics.csv: {}", error.error())));
        let events = self.events.map(|(name, events)| (name, events.into_inner()));
        let files = [
            csv.transpose()?.map(|file| ("metrics.csv".to_owned(), file)),
            self.ndjson.map(|file| ("metrics.ndjson".to_owned(), file)),
            events,
        ];
        let mut names = Vec::new();
        for (name, file) in files.into_iter().flatten() {
            let file = file.into_inner().map_err(|error| anyhow::anyhow!("cannot write {name}: {}", error.error()))?;
            persist(file, &self.folder.join(&name))?;
            names.push(name);
        }
        Ok(names)
    }
}
