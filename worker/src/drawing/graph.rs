//! The computation graph of unrolled gradient descent, laid out for its shape: the weights along a line from left to right, their
//! gradients on a line below, and the two inputs that every step takes over and under them.

use trainyard_theory::hypergradient::{Graph, Role};

use super::svg::{Anchor, Svg, pixels};

/// Between the columns of two depths.
const COLUMN: f64 = 78.0;
const MARGIN: f64 = 48.0;
/// Above the learning rate, and below the penalty.
const EDGE: f64 = 60.0;
/// Between the weights and their gradients.
const ROW: f64 = 70.0;
const RADIUS: f64 = 22.0;
/// The length of an arrow's head.
const HEAD: f64 = 8.0;
const INK: &str = "#333333";

/// The graph as an SVG file.
pub(crate) fn draw(graph: &Graph, title: &str) -> String {
    let deepest = graph.nodes.iter().map(|node| node.depth).max().unwrap_or(0);
    let width = 2.0 * MARGIN + COLUMN * deepest as f64;
    let middle = 0.5 * width;
    // High enough for the arrow to the farthest node to pass over the one before it.
    let reach = (0.16 * middle).max(80.0);
    let height = 2.0 * (EDGE + reach) + ROW;
    let places: Vec<(f64, f64)> = graph
        .nodes
        .iter()
        .map(|node| {
            let column = MARGIN + COLUMN * node.depth as f64;
            match node.role {
                Role::LearningRate => (middle, EDGE),
                Role::Weights | Role::Loss => (column, EDGE + reach),
                Role::Gradient => (column, EDGE + reach + ROW),
                Role::Penalty => (middle, height - EDGE),
            }
        })
        .collect();
    let mut svg = Svg::new(width, height, title);
    svg.text((MARGIN - RADIUS, 26.0), Anchor::Start, title, &[("font-size", &15), ("font-weight", &600), ("fill", &INK)]);
    for (from, to) in &graph.edges {
        arrow(&mut svg, places[*from], places[*to], graph.nodes[*from].role);
    }
    for (node, (x, y)) in graph.nodes.iter().zip(&places) {
        let colour = fill(node.role);
        match node.role {
            Role::LearningRate | Role::Penalty => {
                let (left, top) = (pixels(x - RADIUS), pixels(y - 16.0));
                svg.element(
                    "rect",
                    &[
                        ("x", &left),
                        ("y", &top),
                        ("width", &(2.0 * RADIUS)),
                        ("height", &32),
                        ("rx", &4),
                        ("fill", &colour),
                        ("stroke", &INK),
                    ],
                );
            }
            Role::Weights | Role::Gradient | Role::Loss => {
                let (x, y) = (pixels(*x), pixels(*y));
                svg.element("circle", &[("cx", &x), ("cy", &y), ("r", &RADIUS), ("fill", &colour), ("stroke", &INK)]);
            }
        }
        svg.text((*x, y + 4.0), Anchor::Middle, &node.label, &[("fill", &INK)]);
    }
    svg.finish()
}

fn fill(role: Role) -> &'static str {
    match role {
        Role::Weights => "#dcebf7",
        Role::Gradient => "#f7e3d3",
        Role::LearningRate | Role::Penalty => "#e9f3dd",
        Role::Loss => "#f3dcec",
    }
}

/// A line from the rim of one node to an arrow's head at the rim of another.
fn arrow(svg: &mut Svg, from: (f64, f64), to: (f64, f64), role: Role) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy).max(1.0);
    let (ux, uy) = (dx / length, dy / length);
    let at = |point: (f64, f64), along: f64, aside: f64| {
        format!("{} {}", pixels(point.0 + along * ux - aside * uy), pixels(point.1 + along * uy + aside * ux))
    };
    // What every step takes is drawn lighter, so that the path of the weights stands out.
    let colour = match role {
        Role::LearningRate | Role::Penalty => "#9aa5ad",
        Role::Weights | Role::Gradient | Role::Loss => INK,
    };
    let (start, end) = (at(from, RADIUS, 0.0), at(to, -RADIUS - HEAD, 0.0));
    svg.element("path", &[("d", &format!("M{start}L{end}")), ("fill", &"none"), ("stroke", &colour), ("stroke-width", &1.3)]);
    let (tip, one, other) = (at(to, -RADIUS, 0.0), at(to, -RADIUS - HEAD, 0.4 * HEAD), at(to, -RADIUS - HEAD, -0.4 * HEAD));
    svg.element("path", &[("d", &format!("M{tip}L{one}L{other}Z")), ("fill", &colour)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_and_every_edge_is_drawn_inside_the_picture() {
        for steps in [0, 1, 5, 20] {
            for penalized in [false, true] {
                let graph = Graph::of(steps, penalized);
                let svg = draw(&graph, "graph");
                let labels = svg.matches("<text").count() - 1;
                assert_eq!(labels, graph.nodes.len());
                assert_eq!(svg.matches("<path").count(), 2 * graph.edges.len());
                assert_eq!(svg.matches("<circle").count() + svg.matches("<rect").count() - 1, graph.nodes.len());
                for node in &graph.nodes {
                    assert!(svg.contains(&format!(">{}</text>", node.label)), "no {} in {svg}", node.label);
                }
                assert!(!svg.contains("=\"-") && !svg.contains("NaN"), "{svg}");
            }
        }
    }
}
