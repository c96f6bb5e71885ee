//! The plot of a record: cycles a packet against the number of flows, weir's beside 5tswap's, and those of others.
//!
//! Promises: what was measured by the record's own run is drawn in lines; what others were measured at, on another day
//! and another machine, is drawn in grey and says so. A method that appears in the rows appears in the plot.
//! Does not know: how anything was measured (`crates/bench`), nor what it means (`perf/README.md`).

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde_json::Value;

const SIZE: (u32, u32) = (1_000, 620);
/// To the right of the lines, for their names.
const NAMES_WIDTH: u32 = 260;
const FONT: &str = "sans-serif";
const GREY: RGBColor = RGBColor(120, 120, 120);
/// For weir's own lines, in their order; told apart by those who tell few colours apart, too.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 50, 32),
    RGBColor(0, 130, 90),
    RGBColor(150, 70, 160),
    RGBColor(200, 120, 0),
    RGBColor(70, 70, 70),
    RGBColor(0, 160, 190),
    RGBColor(120, 90, 40),
];

/// Cycles of the time-stamp counter (2.1 GHz) that others took, generator and sink on the same core, by flows; 64-byte
/// frames, FULLNAT, one worker core.
const DPVS: [(&str, &[(f64, f64)]); 2] = [
    (
        "DPVS 1.10.2, UDP",
        &[(1.0, 305.0), (1e4, 775.0), (1e6, 2_809.0)],
    ),
    ("DPVS 1.10.2, TCP", &[(1e4, 732.0), (1e6, 2_597.0)]),
];
/// Linux IPVS, NAT, kernel 6.1, one CPU: 770 ns a packet at 2.1 GHz.
const IPVS: f64 = 1_617.0;

/// A line: what it is called, and cycles by flows.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Draws a record as SVG.
pub(crate) fn draw(record: &Value, path: &Path) -> Result<()> {
    let rows = record["rows"].as_array().context("a record has rows")?;
    let lines = lines_of(rows);
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let words = |text: &str| text.trim_matches('"').to_owned();
    let caption = format!(
        "{}, TSC {} GHz, commit {}, {}. Inbound, 64-byte frames, one worker; source of frames included.",
        words(&record["machine"]["processor"].to_string()),
        record["machine"]["tsc_ghz"],
        words(&record["commit"].to_string()),
        words(&record["date"].to_string()),
    );
    let title = (FONT, 22).into_font().style(FontStyle::Bold);
    root.draw_text(
        "Cycles a packet against flows",
        &title.into_text_style(&root),
        (20, 14),
    )?;
    root.draw_text(&caption, &text_style(13, &GREY), (20, 44))?;
    root.draw_text(
        "Grey: DPVS and Linux IPVS, measured on another day and another machine (TSC 2.1 GHz); the order of size is what counts.",
        &text_style(13, &GREY),
        (20, 62),
    )?;
    let mut chart = ChartBuilder::on(&root)
        .margin_top(90)
        .margin_left(10)
        .margin_right(NAMES_WIDTH)
        .margin_bottom(10)
        .x_label_area_size(46)
        .y_label_area_size(64)
        .build_cartesian_2d((0.8..1.3e7).log_scale(), (20.0..4e3).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("flows (established connections)")
        .y_desc("cycles a packet")
        .x_label_formatter(&|flows| size_name(*flows))
        .y_label_formatter(&|cycles| size_name(*cycles))
        .label_style((FONT, 14))
        .bold_line_style(RGBColor(200, 200, 200))
        .light_line_style(RGBColor(240, 240, 240))
        .draw()?;
    let mut names = Names::default();
    for (name, points) in DPVS {
        chart.draw_series(DashedLineSeries::new(
            points.iter().copied(),
            6,
            4,
            GREY.stroke_width(1),
        ))?;
        chart.draw_series(
            points
                .iter()
                .map(|point| TriangleMarker::new(*point, 5, GREY.filled())),
        )?;
        names.add(&chart, name, points, GREY);
    }
    let ipvs = [(0.8, IPVS), (1.3e7, IPVS)];
    chart.draw_series(DashedLineSeries::new(ipvs, 2, 4, GREY.stroke_width(1)))?;
    names.add(&chart, "Linux IPVS NAT, 770 ns", &ipvs, GREY);
    for (place, line) in lines.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        chart.draw_series(LineSeries::new(
            line.points.iter().copied(),
            colour.stroke_width(2),
        ))?;
        chart.draw_series(
            line.points
                .iter()
                .map(|point| Circle::new(*point, 4, colour.filled())),
        )?;
        names.add(&chart, &line.name, &line.points, colour);
    }
    names.write(&root)?;
    root.present()
        .map_err(|error| anyhow!("{} cannot be written: {error}", path.display()))
}

/// The names of lines with the cycles of their last points, each beside its own.
#[derive(Default)]
struct Names(Vec<(i32, i32, String, RGBColor)>);

/// Between two names, one below the other.
const NAME_HEIGHT: i32 = 17;

impl Names {
    fn add<'a, X, Y>(
        &mut self,
        chart: &ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
        name: &str,
        points: &[(f64, f64)],
        colour: RGBColor,
    ) where
        X: Ranged<ValueType = f64>,
        Y: Ranged<ValueType = f64>,
    {
        if let Some(last) = points.last() {
            let (x, y) = chart.backend_coord(last);
            self.0
                .push((x, y, format!("{name}: {:.0}", last.1), colour));
        }
    }

    /// Those that would lie on each other move apart.
    fn write(mut self, root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Result<()> {
        let right = SIZE.0 as i32 - NAMES_WIDTH as i32;
        self.0.sort_by_key(|(_, y, ..)| *y);
        let mut lowest = i32::MIN;
        for (x, y, name, colour) in self.0 {
            let at = y.max(lowest);
            lowest = at + NAME_HEIGHT;
            let place = (right + 8, at);
            root.draw(&PathElement::new(
                [(x + 6, y), (right + 4, at)],
                colour.mix(0.3),
            ))?;
            let style = text_style(14, &colour).pos(Pos::new(HPos::Left, VPos::Center));
            root.draw_text(&name, &style, place)?;
        }
        Ok(())
    }
}

fn text_style(size: i32, colour: &RGBColor) -> TextStyle<'_> {
    TextStyle::from((FONT, size).into_font()).color(colour)
}

/// A line for each method and protocol, those with options and mixtures left out; then 5tswap, and the source alone.
fn lines_of(rows: &[Value]) -> Vec<Line> {
    let mut by_name: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let (mut swap, mut source) = (Vec::new(), Vec::new());
    for row in rows {
        let Some((name, flows)) = plotted(row) else {
            continue;
        };
        let number = |field: &str| row[field].as_f64();
        if let Some(cycles) = number("cycles_p10") {
            by_name
                .entry(name.clone())
                .or_default()
                .push((flows, cycles));
            if name == "fullnat tcp" {
                swap.extend(number("ratio_5tswap").map(|ratio| (flows, cycles / ratio)));
                source.extend(number("source_cycles_p10").map(|cycles| (flows, cycles)));
            }
        }
    }
    let others = [
        ("5tswap, the practical limit", swap),
        ("the source of frames alone", source),
    ];
    let others = others.map(|(name, points)| (name.to_owned(), points));
    let all = by_name
        .into_iter()
        .map(|(name, points)| (format!("weir, {name}"), points))
        .chain(others);
    all.filter(|(_, points)| !points.is_empty())
        .map(|(name, mut points)| {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Line { name, points }
        })
        .collect()
}

/// The line a row belongs to, and its flows.
fn plotted(row: &Value) -> Option<(String, f64)> {
    let case: Vec<&str> = row["case"].as_str()?.split('/').collect();
    let [method, protocol, "inbound", size] = case[..] else {
        return None;
    };
    let is_plain = matches!(protocol, "udp" | "tcp" | "tcp-ipv6") && !size.contains('-');
    is_plain.then_some((format!("{method} {protocol}"), row["flows"].as_f64()?))
}

fn size_name(number: f64) -> String {
    match number {
        1e6.. => format!("{} M", number / 1e6),
        1e4.. => format!("{} k", number / 1e3),
        _ => format!("{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(case: &str, flows: u32, cycles: f64) -> Value {
        json!({"case": case, "flows": flows, "cycles_p10": cycles, "source_cycles_p10": 40.0, "ratio_5tswap": 2.0})
    }

    #[test]
    fn each_method_has_its_line_and_special_cases_have_none() {
        let rows = [
            row("fullnat/tcp/inbound/1M", 1_000_000, 200.0),
            row("fullnat/tcp/inbound/10k", 10_000, 100.0),
            row("fullnat/tcp/inbound/100k-publishing", 100_000, 900.0),
            row("fullnat/tcp/outbound/10k", 10_000, 900.0),
            row("nat/tcp/inbound/10k", 10_000, 90.0),
            row("memory/ipv4/1M", 1_000_000, 1.0),
        ];
        let lines = lines_of(&rows);
        let line = |name: &str| &lines.iter().find(|line| line.name == name).unwrap().points;
        assert_eq!(lines.len(), 4);
        assert_eq!(*line("weir, fullnat tcp"), [(1e4, 100.0), (1e6, 200.0)]);
        assert_eq!(*line("weir, nat tcp"), [(1e4, 90.0)]);
        assert_eq!(
            *line("5tswap, the practical limit"),
            [(1e4, 50.0), (1e6, 100.0)]
        );
    }

    #[test]
    fn the_plot_names_what_it_shows_and_whose_figures_are_not_ours() {
        let path = std::env::temp_dir().join(format!("weir-plot-{}.svg", std::process::id()));
        let record = json!({
            "date": "2026-01-01", "commit": "abc", "machine": {"processor": "P", "tsc_ghz": 2.1},
            "rows": [row("fullnat/tcp/inbound/10k", 10_000, 100.0)],
        });
        draw(&record, &path).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for word in [
            "weir, fullnat tcp",
            "DPVS 1.10.2, UDP",
            "Linux IPVS",
            "another machine",
            "abc",
        ] {
            assert!(svg.contains(word), "{word}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
