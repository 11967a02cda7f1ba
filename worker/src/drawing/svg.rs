//! SVG, element by element.

use std::fmt::{Display, Write as _};

/// A picture in the making.
#[derive(Debug)]
pub(super) struct Svg {
    text: String,
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// A white picture of this size in pixels; `title` is what a screen reader says.
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        let title = escape(title);
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<title>{title}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
        );
        Self { text }
    }

    /// An element without content. Values are escaped.
    pub(super) fn element(&mut self, name: &str, attributes: &[(&str, &dyn Display)]) {
        self.open(name, attributes, "/>\n");
    }

    /// A line of text.
    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, content: &str, attributes: &[(&str, &dyn Display)]) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y) = (pixels(x), pixels(y));
        let mut all: Vec<(&str, &dyn Display)> = vec![("x", &x), ("y", &y), ("text-anchor", &anchor)];
        all.extend(attributes);
        self.open("text", &all, ">");
        self.text.push_str(&escape(content));
        self.text.push_str("</text>\n");
    }

    fn open(&mut self, name: &str, attributes: &[(&str, &dyn Display)], end: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "<{name}");
        for (attribute, value) in attributes {
            let _ = write!(self.text, " {attribute}=\"{}\"", escape(&value.to_string()));
        }
        self.text.push_str(end);
    }

    /// The file.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

/// A coordinate with two decimals, as many as a screen shows.
pub(super) fn pixels(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Text that means itself, in content and in attributes. Characters that XML cannot hold become `�`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_wherever_it_stands() {
        let hostile = "</title><script>alert(\"1\" & '2')</script>\u{0}";
        let mut svg = Svg::new(10.0, 20.0, hostile);
        svg.text((1.0, 2.0), Anchor::Middle, hostile, &[("fill", &hostile)]);
        svg.element("path", &[("d", &hostile)]);
        let text = svg.finish();
        assert!(!text.contains("<script") && !text.contains('\u{0}'), "{text}");
        assert_eq!(text.matches("&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;\u{fffd}").count(), 4);
        assert_eq!(text.matches('<').count(), text.matches('>').count());
    }
}
