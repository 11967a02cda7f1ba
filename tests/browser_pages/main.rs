//! The pages of the dashboard in a real browser: one run, a comparison, the form. See [`support::browser`] for where there is none.
#![allow(clippy::unwrap_used)]

mod colourize;
mod colours;
mod compare;
mod felt;
mod line;
mod look;
mod run;
mod seeds;
mod submit;
#[path = "../support/mod.rs"]
mod support;

use fantoccini::{Client as Browser, Locator};
use serde_json::Value;
use support::Yard;
use support::browser::{Driver, chromium, console_errors, shows};

/// A browser that is signed in to a server, with the driver that it lives in.
struct Desk {
    yard: Yard,
    browser: Browser,
    // Dropped last: the browser's processes are its.
    _driver: Driver,
}

impl Desk {
    /// On a server with so many workers; none where there is no browser.
    async fn open(workers: u32) -> Option<Self> {
        chromium()?;
        let yard = match workers {
            0 => Yard::server(&[]).await,
            some => Yard::up(&["--workers", &some.to_string()]).await,
        };
        Self::at(yard).await
    }

    /// At a server that is there; none where there is no browser.
    async fn at(yard: Yard) -> Option<Self> {
        let chromium = chromium()?;
        let driver = Driver::start().await;
        let browser = driver.open(&chromium).await;
        browser.goto(&format!("{}/#token={}", yard.url, yard.token)).await.unwrap();
        shows(&browser, ".top-nav a[aria-current]").await;
        Some(Self { yard, browser, _driver: driver })
    }

    async fn visit(&self, fragment: &str) {
        self.browser.goto(&format!("{}/{fragment}", self.yard.url)).await.unwrap();
    }

    async fn click(&self, selector: &str) {
        self.browser.find(Locator::Css(selector)).await.unwrap().click().await.unwrap();
    }

    async fn text(&self, selector: &str) -> String {
        self.browser.find(Locator::Css(selector)).await.unwrap().text().await.unwrap()
    }

    /// What a script answers.
    async fn tell(&self, script: &str) -> Value {
        self.browser.execute(script, vec![]).await.unwrap()
    }

    /// Writes `text` into a field as a reader would, over what is there.
    async fn write(&self, selector: &str, text: &str) {
        let field = self.browser.find(Locator::Css(selector)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Fails if the console has errors other than answers that the page asked for and shows.
    async fn is_quiet(&self, expected: &str) {
        let complaints = console_errors(&self.browser).await;
        let surprising: Vec<_> = complaints
            .into_iter()
            .filter(|entry| expected.is_empty() || !entry["message"].as_str().unwrap_or_default().contains(expected))
            .collect();
        assert!(surprising.is_empty(), "the console has errors: {surprising:#?}");
    }

    async fn close(self) {
        self.browser.close().await.unwrap();
    }
}
