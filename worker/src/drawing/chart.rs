//! Line charts.

use trainyard_wire::number::brief;

use super::svg::{Anchor, Svg, pixels};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 52.0;
/// About as many ticks as an axis has.
const TICKS: f64 = 6.0;
/// Told apart by people who do not see all colours, too (M. Okabe and K. Ito, "Color universal design", 2008).
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];
const INK: &str = "#333333";
const GRID: &str = "#e3e3e3";

/// One line: its points in the order they are joined. Where a point is not finite the line has a gap.
#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
    /// So that a line shows that lies under this one.
    pub(crate) dashed: bool,
}

/// A point with a name.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) name: String,
    pub(crate) at: (f64, f64),
}

/// A chart of lines over one axis.
#[derive(Clone, Debug)]
pub(crate) struct LineChart<'a> {
    pub(crate) title: &'a str,
    pub(crate) x_label: &'a str,
    pub(crate) y_label: &'a str,
    pub(crate) lines: Vec<Line<'a>>,
    pub(crate) marks: Vec<Mark>,
}

impl LineChart<'_> {
    /// The chart as an SVG file.
    pub(crate) fn draw(&self) -> String {
        let finite = || self.points().filter(|(x, y)| x.is_finite() && y.is_finite());
        let x = Axis::over(finite().map(|(x, _)| x), LEFT, WIDTH - RIGHT);
        let y = Axis::over(finite().map(|(_, y)| y), HEIGHT - BOTTOM, TOP);
        let mut svg = Svg::new(WIDTH, HEIGHT, self.title);
        svg.text((LEFT, 22.0), Anchor::Start, self.title, &[("font-size", &15), ("font-weight", &600), ("fill", &INK)]);
        self.draw_axes(&mut svg, &x, &y);
        for (index, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let dashes = dashes(line);
            svg.element(
                "path",
                &[("d", &path(line, &x, &y)), ("fill", &"none"), ("stroke", &colour), ("stroke-width", &2), ("stroke-dasharray", &dashes)],
            );
            if line.points.len() <= 30 {
                for (at_x, at_y) in line.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
                    svg.element("circle", &[("cx", &x.place(*at_x)), ("cy", &y.place(*at_y)), ("r", &2.5), ("fill", &colour)]);
                }
            }
        }
        for Mark { name, at } in self.marks.iter().filter(|mark| mark.at.0.is_finite() && mark.at.1.is_finite()) {
            let (at_x, at_y) = (x.place(at.0), y.place(at.1));
            svg.element("circle", &[("cx", &at_x), ("cy", &at_y), ("r", &5), ("fill", &"none"), ("stroke", &INK), ("stroke-width", &2)]);
            // Over the point, on the side that has room.
            let anchor = if at_x > 0.5 * WIDTH { Anchor::End } else { Anchor::Start };
            svg.text((at_x, at_y - 12.0), anchor, name, &[("fill", &INK)]);
        }
        self.draw_legend(&mut svg);
        svg.finish()
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.lines.iter().flat_map(|line| line.points.iter().copied()).chain(self.marks.iter().map(|mark| mark.at))
    }

    fn draw_axes(&self, svg: &mut Svg, x: &Axis, y: &Axis) {
        for tick in y.ticks() {
            let at = y.place(tick);
            svg.element("path", &[("d", &format!("M{LEFT} {at}H{}", WIDTH - RIGHT)), ("stroke", &GRID)]);
            svg.text((LEFT - 8.0, at + 4.0), Anchor::End, &brief(tick), &[("fill", &INK)]);
        }
        for tick in x.ticks() {
            let at = x.place(tick);
            svg.element("path", &[("d", &format!("M{at} {TOP}V{}", HEIGHT - BOTTOM)), ("stroke", &GRID)]);
            svg.text((at, HEIGHT - BOTTOM + 18.0), Anchor::Middle, &brief(tick), &[("fill", &INK)]);
        }
        svg.element("path", &[("d", &format!("M{LEFT} {TOP}V{}H{}", HEIGHT - BOTTOM, WIDTH - RIGHT)), ("fill", &"none"), ("stroke", &INK)]);
        svg.text((0.5 * (LEFT + WIDTH - RIGHT), HEIGHT - 12.0), Anchor::Middle, self.x_label, &[("fill", &INK)]);
        let middle = pixels(0.5 * (TOP + HEIGHT - BOTTOM));
        let turned = format!("rotate(-90 16 {middle})");
        svg.text((16.0, middle), Anchor::Middle, self.y_label, &[("transform", &turned), ("fill", &INK)]);
    }

    fn draw_legend(&self, svg: &mut Svg) {
        if self.lines.len() < 2 {
            return;
        }
        let width = (WIDTH - LEFT - RIGHT) / self.lines.len() as f64;
        for (index, line) in self.lines.iter().enumerate() {
            let left = pixels(LEFT + width * index as f64);
            let colour = COLOURS[index % COLOURS.len()];
            svg.element(
                "path",
                &[("d", &format!("M{left} 40h18")), ("stroke", &colour), ("stroke-width", &2), ("stroke-dasharray", &dashes(line))],
            );
            svg.text((left + 24.0, 44.0), Anchor::Start, line.name, &[("fill", &INK)]);
        }
    }
}

fn dashes(line: &Line<'_>) -> &'static str {
    if line.dashed { "6 6" } else { "none" }
}

/// The path of a line; a pen that is lifted where a point is not finite.
fn path(line: &Line<'_>, x: &Axis, y: &Axis) -> String {
    let mut path = String::new();
    let mut down = false;
    for (at_x, at_y) in &line.points {
        let finite = at_x.is_finite() && at_y.is_finite();
        if finite {
            path.push_str(&format!("{}{} {}", if down { 'L' } else { 'M' }, x.place(*at_x), y.place(*at_y)));
        }
        down = finite;
    }
    path
}

/// A linear axis: values `least` to `greatest` at pixels `from` to `to`.
#[derive(Clone, Copy, Debug)]
struct Axis {
    least: f64,
    greatest: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut least, mut greatest) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), value| (a.min(value), b.max(value)));
        if least > greatest {
            (least, greatest) = (0.0, 1.0);
        }
        // An axis that nearly begins at 0 begins there.
        if least > 0.0 && least < 0.3 * greatest {
            least = 0.0;
        }
        let span = greatest - least;
        if span.is_nan() || span <= 1e-12 * greatest.abs().max(least.abs()) {
            let room = if greatest == 0.0 { 1.0 } else { 0.5 * greatest.abs() };
            (least, greatest) = (least - room, greatest + room);
        }
        Self { least, greatest, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        // Halves, as a span may overflow where its ends do not.
        let share = (0.5 * value - 0.5 * self.least) / (0.5 * self.greatest - 0.5 * self.least);
        pixels(self.from + share * (self.to - self.from))
    }

    /// Multiples of 1, 2 or 5 times a power of ten.
    fn ticks(&self) -> impl Iterator<Item = f64> {
        let rough = self.greatest / TICKS - self.least / TICKS;
        let power = 10.0_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power);
        let (first, last) = ((self.least / step).ceil(), (self.greatest / step).floor());
        let count = if (last - first).is_finite() { (last - first).clamp(0.0, 2.0 * TICKS) as u32 } else { 0 };
        (0..=count).map(move |index| {
            // Rounded to the digits of the step, so that 0.3 is not written as 0.30000000000000004.
            let tick = (first + f64::from(index)) * step;
            if tick.abs() < 1e-9 * step { 0.0 } else { tick }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> String {
        let lines = vec![Line { name: "a<b", points: points.clone(), dashed: false }, Line { name: "other", points, dashed: true }];
        let marks = vec![Mark { name: "η*".to_owned(), at: (1.0, 2.0) }];
        LineChart { title: "T & t", x_label: "k", y_label: "bytes", lines, marks }.draw()
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let ticks = |values: [f64; 2]| Axis::over(values.into_iter(), 0.0, 100.0).ticks().map(brief).collect::<Vec<_>>();
        assert_eq!(ticks([0.0, 1.0]), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(ticks([0.9, 1.17]), ["0.9", "0.95", "1", "1.05", "1.1", "1.15"]);
        assert_eq!(ticks([-3.0, 1e5]), ["0", "20000", "40000", "60000", "80000", "100000"]);
        for extreme in [[0.0, 0.0], [1e-300, 2e-300], [-1e308, 1e308], [5.0, 5.0], [1e300, 1e300 * (1.0 + 1e-15)]] {
            let axis = Axis::over(extreme.into_iter(), 0.0, 100.0);
            let ticks: Vec<f64> = axis.ticks().collect();
            assert!((1..=13).contains(&ticks.len()) && ticks.iter().all(|tick| tick.is_finite()), "{extreme:?}: {ticks:?}");
            assert!(extreme.iter().all(|value| (-1e-9..=100.0 + 1e-9).contains(&axis.place(*value))), "{extreme:?}");
        }
    }

    #[test]
    fn a_chart_has_its_lines_marks_and_texts() {
        let svg = chart(vec![(0.0, 1.0), (1.0, 2.0), (2.0, 4.0)]);
        for part in ["T &amp; t", "a&lt;b", ">other<", ">η*<", ">k<", ">bytes<"] {
            assert!(svg.contains(part), "no {part} in {svg}");
        }
        assert_eq!(svg.matches("stroke-width=\"2\"").count(), 2 + 2 + 1);
        assert_eq!(svg.matches("<circle").count(), 6 + 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn points_that_are_not_finite_leave_a_gap_and_no_points_at_all_an_empty_chart() {
        let svg = chart(vec![(0.0, 1.0), (1.0, f64::INFINITY), (2.0, f64::NAN), (3.0, 2.0), (4.0, 1.0)]);
        let line = svg.lines().find(|line| line.contains("#0072b2") && line.contains("<path")).unwrap();
        assert_eq!((line.matches('M').count(), line.matches('L').count()), (2, 1), "{line}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(chart(Vec::new()).ends_with("</svg>\n"));
    }
}
