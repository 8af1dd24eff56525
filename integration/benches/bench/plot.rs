//! A scenario as a picture: bars for medians, and lines over them from quartile to quartile.

use std::fmt::Write;

use crate::figure::number;
use crate::report::{Better, Comparison, Section};

/// All in pixels.
const WIDTH: f64 = 760.0;
const NAMES: f64 = 200.0;
const VALUES: f64 = 150.0;
const ROW: f64 = 20.0;
const BAR: f64 = 13.0;
const TITLE: f64 = 30.0;

/// The picture as SVG. Nothing if the scenario compares nothing.
pub(crate) fn svg(section: &Section) -> Option<String> {
    if section.comparisons.is_empty() {
        return None;
    }
    let rows = |comparison: &Comparison| TITLE + ROW * comparison.ways.len() as f64;
    let height = 10.0 + section.comparisons.iter().map(rows).sum::<f64>();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut top = 0.0;
    for comparison in &section.comparisons {
        panel(&mut svg, comparison, top);
        top += rows(comparison);
    }
    svg += "</svg>\n";
    Some(svg)
}

fn panel(svg: &mut String, comparison: &Comparison, top: f64) {
    let Comparison {
        case,
        name,
        unit,
        better,
        ways,
    } = comparison;
    let case = if case.is_empty() {
        String::new()
    } else {
        format!("{case}: ")
    };
    let better = match better {
        Better::Less => "less is better",
        Better::More => "more is better",
    };
    text(
        svg,
        10.0,
        top + TITLE - 8.0,
        "font-weight=\"bold\"",
        &format!("{case}{name}, {unit} ({better})"),
    );
    let room = WIDTH - NAMES - VALUES;
    let values = ways.iter().map(|way| way.figure.high);
    let scale = room / values.fold(f64::MIN_POSITIVE, f64::max);
    for (index, way) in ways.iter().enumerate() {
        let middle = top + TITLE + ROW * (index as f64 + 0.5);
        let base = middle + 4.0;
        let own = way.way.starts_with("bowline");
        let colour = if own { "#2b6cb0" } else { "#a0aec0" };
        text(svg, NAMES - 8.0, base, "text-anchor=\"end\"", &way.way);
        let (length, y) = (way.figure.median * scale, middle - BAR / 2.0);
        let _ = writeln!(
            svg,
            "<rect x=\"{NAMES}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>"
        );
        let [low, high] = [way.figure.low, way.figure.high].map(|value| NAMES + value * scale);
        let _ = writeln!(
            svg,
            "<path d=\"M{low:.1} {middle:.1}H{high:.1}\" stroke=\"#1a202c\" stroke-width=\"1.5\"/>"
        );
        let label = format!("{}  (x{:.2})", number(way.figure.median), way.ratio);
        text(svg, WIDTH - VALUES + 10.0, base, "", &label);
    }
}

fn text(svg: &mut String, x: f64, y: f64, attributes: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{y:.1}\" {attributes}>{text}</text>"
    );
}
