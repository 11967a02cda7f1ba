//! Many subscribers to many runs that report all at once, one of the subscribers stalled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use futures::future::try_join_all;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use trainyard_wire::client::ByteStream;
use trainyard_wire::run::News;
use trainyard_wire::worker::Report as RunReport;
use trainyard_wire::{Revision, RunId};

use crate::Target;
use crate::report::{Bound, Report, Times};
use crate::seeds::Draws;
use crate::trainer::{Held, Trainer, batch, content, queue, report, success};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seed: u64,
    pub subscribers: usize,
    pub workers: usize,
    pub time: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, subscribers: 200, workers: 50, time: Duration::from_secs(30) }
    }
}

/// Between two checkpoints of a worker, and between two reports.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// How long the last message may take to reach the last subscriber.
const PATIENCE: Duration = Duration::from_secs(60);

/// When each checkpoint was handed in: the time until a subscriber hears of it includes its commit.
type Sent = Arc<Mutex<HashMap<(RunId, u64), Instant>>>;

/// Every subscriber hears of every checkpoint of every run, once and in order, and how long that takes is measured.
///
/// # Errors
/// What the server answers, and where a message is missing, doubled or out of order.
pub async fn run(target: &Target, settings: Settings) -> anyhow::Result<Report> {
    let Settings { seed, subscribers, workers, time } = settings;
    queue(&target.admin()?, "subscribers", workers as u64).await?;
    let trainers = try_join_all((0..workers).map(|_| Trainer::register(target))).await?;
    let mut held = Vec::new();
    for trainer in &trainers {
        held.extend(trainer.claim_all(1).await?);
    }
    let ids: Vec<RunId> = held.iter().map(|held| held.run).collect();
    let stalled = stall(target).await?;
    let client = target.admin()?;
    let streams = try_join_all((0..subscribers).map(|_| client.follow(&ids, None))).await?;
    let sent = Sent::default();
    let listeners: Vec<_> = streams.into_iter().map(|stream| tokio::spawn(listen(stream, workers, Arc::clone(&sent)))).collect();

    let until = Instant::now() + time;
    let work = trainers.iter().zip(&held).enumerate().map(|(index, (trainer, held))| {
        let draws = Draws::new(seed, index as u64);
        train(trainer, *held, draws, until, &sent)
    });
    let most_resident = async {
        let mut most = 0;
        loop {
            most = most.max(target.resident_bytes().map_or(0, |(now, _)| now));
            if Instant::now() > until {
                return anyhow::Ok(most);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let (_, resident) = futures::future::try_join(try_join_all(work), most_resident).await?;
    let checkpoints = sent.lock().unwrap_or_else(PoisonError::into_inner).len();
    let mut times = Times::default();
    let heard = tokio::time::timeout(PATIENCE, try_join_all(listeners)).await.context("a subscriber does not hear of the end")??;
    for of_subscriber in heard {
        let of_subscriber = of_subscriber?;
        ensure!(of_subscriber.len() == checkpoints, "a subscriber heard of {} checkpoints of {checkpoints}", of_subscriber.len());
        times.extend(of_subscriber);
    }
    drop(stalled);

    let mut report = Report::new("subscribers", seed);
    report.tell("subscribers, and one stalled", subscribers as f64, "");
    report.tell("workers", workers as f64, "");
    report.tell("messages measured", times.len() as f64, "");
    report.times("from the worker to a subscriber", &mut times, Some(("p99", 1000.0)));
    if resident > 0 {
        report.promise("server RSS", resident as f64 / 1e6, "MB", Bound::AtMost(150.0));
    }
    Ok(report)
}

/// A subscriber that reads nothing.
async fn stall(target: &Target) -> anyhow::Result<tokio::net::TcpStream> {
    let address = target.url.trim_start_matches("http://").parse().context("the server's address")?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(address).await?;
    let request = format!("GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", target.admin_token);
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

async fn train(trainer: &Trainer, held: Held, mut draws: Draws, until: Instant, sent: &Sent) -> anyhow::Result<()> {
    // Not all at the same moment.
    tokio::time::sleep(CHECKPOINT_EVERY.mul_f64(draws.fraction())).await;
    let checkpoints = async {
        let mut draws = draws.clone();
        let mut step = 0;
        while Instant::now() < until {
            step += 1;
            let (bytes, hash) = content(2000, &mut draws);
            sent.lock().unwrap_or_else(PoisonError::into_inner).insert((held.run, step), Instant::now());
            trainer.client.put_artifact(held.run, held.attempt, "checkpoint.safetensors", &hash, Some(step), bytes).await?;
            tokio::time::sleep(CHECKPOINT_EVERY).await;
        }
        anyhow::Ok(())
    };
    let reports = async {
        let mut draws = draws.clone();
        let mut first = 1;
        while Instant::now() < until {
            let body = RunReport { metrics: vec![batch("loss", first, 50, &mut draws)], ..report(held.attempt) };
            trainer.client.report(held.run, &body).await?;
            first += 50;
            tokio::time::sleep(REPORT_EVERY).await;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        done = futures::future::try_join(checkpoints, reports) => done?,
        () = trainer.keep(held) => unreachable!("heartbeats do not end by themselves"),
    };
    trainer.client.report(held.run, &success(held.attempt)).await?;
    Ok(())
}

/// Reads until so many runs have ended; answers how long each checkpoint took to be heard of.
async fn listen(mut stream: ByteStream, runs: usize, sent: Sent) -> anyhow::Result<Times> {
    let (mut text, mut times, mut last, mut ended) = (Vec::new(), Times::default(), Revision(0), 0);
    while ended < runs {
        text.extend_from_slice(&stream.next().await.context("the stream ended early")??);
        let now = Instant::now();
        while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
            let frame = std::str::from_utf8(&text[..end])?;
            let data = frame.lines().find_map(|line| line.strip_prefix("data: "));
            let news: Option<News> = data.map(serde_json::from_str).transpose()?;
            text.drain(..end + 2);
            let Some(news) = news else { continue };
            ensure!(news.revision > last, "revision {} came after {last}", news.revision);
            last = news.revision;
            match news.kind.as_str() {
                "checkpoint" => {
                    let step = news.detail.as_ref().and_then(|detail| detail["step"].as_u64()).context("a checkpoint's step")?;
                    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
                    let sent = sent.get(&(news.run_id, step)).context("a checkpoint that nobody has sent")?;
                    times.add(now.duration_since(*sent));
                }
                "succeeded" => ended += 1,
                _ => {}
            }
        }
    }
    Ok(times)
}
