//! Pictures dropped on the page of a finished run.

use crate::support::browser::{holds, shows};
use crate::{Desk, seeds};
use fantoccini::Locator;
use trainyard_wire::RunState;

const CARD: &str = "section[aria-label='Colour a picture']";

/// A script that makes a picture of this size and does `then` with it as `file`.
fn with_file(width: u32, height: u32, then: &str) -> String {
    format!(
        "const canvas = document.createElement('canvas');
         canvas.width = {width};
         canvas.height = {height};
         const context = canvas.getContext('2d');
         context.fillStyle = 'rgb(200, 40, 90)';
         context.fillRect(0, 0, {width} / 2, {height});
         canvas.toBlob((blob) => {{
           const file = new File([blob], 'sunset.png', {{ type: 'image/png' }});
           const data = new DataTransfer();
           data.items.add(file);
           {then}
         }}, 'image/png');"
    )
}

/// How many pictures are shown whole: three parts each, all loaded.
fn whole(count: usize) -> String {
    format!(
        "const articles = [...document.querySelectorAll(\"{CARD} article[data-state='succeeded']\")];
         return articles.length === {count} && articles.every((it) => {{
           it.scrollIntoView();
           const images = [...it.querySelectorAll('figure:not([hidden]) img')];
           return images.length === 3 && images.every((image) => image.complete && image.naturalWidth > 0);
         }})"
    )
}

#[tokio::test]
async fn a_picture_that_is_dropped_pasted_or_chosen_is_shown_in_colour() {
    let Some(desk) = Desk::open(1).await else { return };
    let (_, runs) = seeds::done(&desk.yard, &seeds::networks(&["unet"], 1)).await;
    desk.visit(&format!("#/runs/{}", runs[0])).await;
    shows(&desk.browser, &format!("{CARD}:not([hidden]) .drop-zone")).await;

    let drop = with_file(
        40,
        30,
        "document.querySelector('.drop-zone').dispatchEvent(new DragEvent('dragover', { dataTransfer: data, bubbles: true, cancelable: true }));
         window.over = document.querySelector('.drop-zone').classList.contains('over');
         document.querySelector('.drop-zone').dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));",
    );
    desk.tell(&drop).await;
    holds(&desk.browser, "the dropped picture in colour", &whole(1)).await;
    assert_eq!(desk.tell("return window.over && !document.querySelector('.drop-zone').classList.contains('over')").await, true);
    assert!(desk.text(&format!("{CARD} article")).await.contains("40×30"));
    assert!(desk.text(&format!("{CARD} [role=status]")).await.contains("sunset.png was sent"));
    assert_eq!(desk.tell(&format!("return [...document.querySelectorAll('{} a[download]')].length", "article")).await, 2);

    // Larger than the server takes: it is made smaller here.
    desk.tell(&with_file(1600, 1200, "document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));")).await;
    holds(&desk.browser, "the pasted picture in colour", &whole(2)).await;
    assert!(desk.text(&format!("{CARD} [role=status]")).await.contains("made smaller"));
    let pictures = desk.yard.client.colourized(runs[0]).await.unwrap().items;
    assert_eq!((pictures[0].width, pictures[0].height), (1182, 886));
    assert!(pictures.iter().all(|picture| picture.state == RunState::Succeeded));

    // The keyboard reaches the file button, and the newest picture is the first.
    assert_eq!(
        desk.tell(
            "const it = document.querySelector('#picture-file'); it.focus(); return document.activeElement === it && it.labels.length === 1"
        )
        .await,
        true
    );
    let path = desk.yard.folder.path().join("grey.jpg");
    image::GrayImage::from_fn(24, 16, |x, y| image::Luma([(x * 9 + y) as u8])).save(&path).unwrap();
    desk.browser.find(Locator::Css("#picture-file")).await.unwrap().send_keys(path.to_str().unwrap()).await.unwrap();
    holds(&desk.browser, "the chosen picture in colour", &whole(3)).await;
    let first = desk.tell(&format!("return document.querySelector('{} article').getAttribute('aria-label')", ".coloured")).await;
    let newest = desk.yard.client.colourized(runs[0]).await.unwrap().items[0].run_id;
    assert_eq!(first, format!("Picture {newest}"));
    desk.is_quiet("").await;
    desk.close().await;
}

#[tokio::test]
async fn what_cannot_be_coloured_is_told_in_words() {
    let Some(desk) = Desk::open(1).await else { return };
    let (_, runs) = seeds::done(&desk.yard, &seeds::networks(&["pool_upsample"], 1)).await;
    desk.visit(&format!("#/runs/{}", runs[0])).await;
    shows(&desk.browser, &format!("{CARD}:not([hidden]) .drop-zone")).await;
    let drop = |content: &str, name: &str, media: &str| {
        format!(
            "const data = new DataTransfer();
             data.items.add(new File([{content}], '{name}', {{ type: '{media}' }}));
             document.body.dispatchEvent(new DragEvent('drop', {{ dataTransfer: data, bubbles: true, cancelable: true }}));"
        )
    };
    let says = |text: &str| format!("return document.querySelector(\"{CARD} [role=alert]\").textContent.includes('{text}')");
    desk.tell(&drop("'some text'", "notes.txt", "text/plain")).await;
    holds(&desk.browser, "a refusal of the browser", &says("notes.txt was not sent: the browser cannot read it as a picture")).await;
    desk.tell(&drop("'<b>no</b> picture'", "<b>x</b>.png", "image/png")).await;
    holds(&desk.browser, "a refusal of the server", &says("<b>x</b>.png was not sent: the body: is neither a PNG nor a JPEG")).await;
    // A head without a body: the server takes it, and the worker says what is wrong.
    let head = "new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52, 0, 0, 0, 8, 0, 0, 0, 8, 8, 2, 0, 0, 0, 1, 2, 3, 4])";
    desk.tell(&drop(head, "head.png", "image/png")).await;
    let failed = format!(
        "return document.querySelector(\"{CARD} article[data-state='failed'] .failure\")?.textContent.startsWith('Not coloured: the picture cannot be read') === true"
    );
    holds(&desk.browser, "the worker's reason", &failed).await;
    desk.is_quiet("422").await;
    desk.close().await;
}
