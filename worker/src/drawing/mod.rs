//! Figures as SVG: line charts and computation graphs, small enough to be read as text.
//!
//! A figure is styled by attributes alone, as the content security policy under which the server sends artifacts allows no style sheet.
//! It stands on a white ground of its own, so that it reads the same on a page of any colour.

mod chart;
mod graph;
mod svg;

pub(crate) use chart::{Line, LineChart, Mark};
pub(crate) use graph::draw as draw_graph;
