//! One request as a picture: machines side by side, time downwards, on each wire the packet that was captured there.
//!
//! ```text
//!   client              weir               rs1
//!     │  ┌───────────┐   │                  │
//!     │  │ MAC       │   │                  │      one box for each wire, one line in it for each layer,
//!     │  │ IP    TTL │   │                  │      in red what is not as it was on the wire before
//!     │  └───────────┘   │                  │
//!     ├─────────────────►│  ┌───────────┐   │
//! ```
//!
//! Promises: shows what the [`Path`] says and nothing else; the same path gives the same bytes.
//! Does not know: SVG beyond rectangles, lines and text; where the picture is kept.

use std::fmt::Write;

use weir_lab::hop::Hop;
use weir_lab::path::{Path, Sighting, Way};

/// A machine at the head of its line.
pub(crate) struct Machine {
    /// Its name, as in the path.
    pub(crate) name: &'static str,
    /// What is said of it below its name.
    pub(crate) facts: Vec<String>,
}

/// Measures in pixels. A character of the fixed-width fonts named below is 0.6 of the font's size wide.
const FONT: &str = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace";
const FONT_SIZE: usize = 13;
const CHARACTER: f32 = 7.83;
const LINE: usize = 18;
const PADDING: usize = 8;
const MARGIN: usize = 24;
const BELOW_BOX: usize = 14;
const BESIDE_BOX: usize = 14;
const BETWEEN_STEPS: usize = 18;

const INK: &str = "#1f2933";
const FAINT: &str = "#7b8794";
const CHANGED: &str = "#c81e1e";
const REQUEST: &str = "#1d5fa8";
const ANSWER: &str = "#2b7a3d";

/// A piece of a line, and whether it is not as it was on the wire before.
struct Word {
    text: String,
    is_changed: bool,
}

/// What is in a box: its layers, the outermost first.
struct Contents {
    layers: Vec<Layer>,
}

struct Layer {
    colour: &'static str,
    words: Vec<Word>,
}

impl Layer {
    fn n_characters(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.text.chars().count())
            .sum()
    }
}

impl Contents {
    /// Of `hop`, as compared with `before`.
    fn of(hop: &Hop, before: Option<&Hop>) -> Self {
        let word = |text: &str| Word {
            text: text.to_owned(),
            is_changed: false,
        };
        let fact = |text: String, is_as_before: &dyn Fn(&Hop) -> bool| Word {
            text,
            is_changed: before.is_some_and(|before| !is_as_before(before)),
        };
        let mut layers = Vec::new();
        if !hop.source_mac.is_empty() {
            layers.push(Layer {
                colour: "#eceff1",
                words: vec![
                    word("MAC  "),
                    fact(hop.source_mac.clone(), &|before| {
                        before.source_mac == hop.source_mac
                    }),
                    word(" → "),
                    fact(hop.destination_mac.clone(), &|before| {
                        before.destination_mac == hop.destination_mac
                    }),
                ],
            });
        }
        if let Some(outer) = &hop.outer {
            let is_new = |before: &Hop| before.outer == hop.outer;
            let text = format!("IP   {} → {}  ", outer.source, outer.destination);
            let mut words = vec![
                fact(text, &is_new),
                fact(format!("TTL {}", outer.ttl), &is_new),
            ];
            let carried = match outer.udp {
                Some((source, destination)) => {
                    format!("  UDP {source} → {destination}, {}", outer.carrier)
                }
                None => format!("  {}", outer.carrier),
            };
            words.push(fact(carried, &is_new));
            layers.push(Layer {
                colour: "#fdebd0",
                words,
            });
        }
        layers.push(Layer {
            colour: "#dbeafe",
            words: vec![
                word("IP   "),
                fact(hop.source.to_string(), &|before| {
                    before.source == hop.source
                }),
                word(" → "),
                fact(hop.destination.to_string(), &|before| {
                    before.destination == hop.destination
                }),
                word("  "),
                fact(format!("TTL {}", hop.ttl), &|before| before.ttl == hop.ttl),
            ],
        });
        if let Some(client) = hop.toa() {
            layers.push(Layer {
                colour: "#e6f4ea",
                words: vec![fact(format!("TOA  {client}"), &|before| {
                    before.toa() == hop.toa()
                })],
            });
        }
        Self { layers }
    }

    fn width(&self) -> usize {
        let widest = self.layers.iter().map(Layer::n_characters).max();
        text_width(widest.unwrap_or(0)) + 2 * PADDING
    }

    fn height(&self) -> usize {
        self.layers.len() * LINE
    }
}

/// One wire crossed, or a packet unpacked at its end.
struct Step<'a> {
    from: &'a Sighting,
    to: &'a Sighting,
    contents: Contents,
    colour: &'static str,
}

fn steps<'a>(sightings: &'a [Sighting], colour: &'static str) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = Vec::new();
    let mut before: Option<&Hop> = None;
    for (index, seen) in sightings.iter().enumerate() {
        let to = match seen.way {
            Way::Sends => sightings.get(index + 1),
            Way::Unpacks => Some(seen),
            Way::Receives => None,
        };
        let Some(to) = to else { continue };
        steps.push(Step {
            from: seen,
            to,
            contents: Contents::of(&seen.hop, before),
            colour,
        });
        before = Some(&seen.hop);
    }
    steps
}

fn text_width(n_characters: usize) -> usize {
    // Widths of text are some hundreds of pixels: nothing is lost on the way to a float and back.
    (n_characters as f32 * CHARACTER).ceil() as usize
}

/// The picture of `path` between `machines`, which stand in the order of the way there, under `title`.
pub(crate) fn svg(title: &str, machines: &[Machine], path: &Path) -> String {
    let mut steps_down = steps(&path.there, REQUEST);
    steps_down.extend(steps(&path.back, ANSWER));
    let columns = columns(machines, &steps_down);
    let heads = machines
        .iter()
        .map(|machine| (1 + machine.facts.len()) * LINE + 2 * PADDING)
        .max()
        .unwrap_or(0);
    let top = MARGIN + 2 * LINE;
    let mut y = top + heads + BETWEEN_STEPS;
    let mut body = String::new();
    for step in &steps_down {
        draw_step(&mut body, machines, &columns, step, y).expect("writing to a String");
        y += step.contents.height() + BELOW_BOX + BETWEEN_STEPS;
    }
    let (width, lines_end) = (columns.width, y);
    let height = lines_end + 2 * LINE + MARGIN / 2;

    let mut picture = String::new();
    let mut draw = || -> std::fmt::Result {
        writeln!(
            picture,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"{FONT}\" font-size=\"{FONT_SIZE}\">"
        )?;
        writeln!(picture, "<title>{title}</title>")?;
        writeln!(
            picture,
            "<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>"
        )?;
        writeln!(
            picture,
            "<text x=\"{MARGIN}\" y=\"{}\" font-size=\"16\" font-weight=\"bold\" fill=\"{INK}\">{title}</text>",
            MARGIN + LINE / 2
        )?;
        for (machine, &middle) in machines.iter().zip(&columns.middles) {
            writeln!(
                picture,
                "<line x1=\"{middle}\" y1=\"{}\" x2=\"{middle}\" y2=\"{lines_end}\" stroke=\"{FAINT}\" \
                 stroke-dasharray=\"2 4\"/>",
                top + heads
            )?;
            draw_machine(&mut picture, machine, middle, top, heads)?;
        }
        picture.push_str(&body);
        writeln!(
            picture,
            "<text x=\"{MARGIN}\" y=\"{}\" fill=\"{FAINT}\"><tspan fill=\"{REQUEST}\">SYN to the real server</tspan> · \
             <tspan fill=\"{ANSWER}\">SYN, ACK to the client</tspan> · <tspan fill=\"{CHANGED}\">red: not as on the \
             wire before</tspan></text>",
            lines_end + LINE + LINE / 2
        )?;
        writeln!(picture, "</svg>")
    };
    draw().expect("writing to a String does not fail");
    picture
}

/// Where the machines' lines are.
struct Columns {
    middles: Vec<usize>,
    width: usize,
}

/// Lines so far apart that what is written between two of them has room.
fn columns(machines: &[Machine], steps: &[Step<'_>]) -> Columns {
    let head = |machine: &Machine| {
        let longest = machine.facts.iter().map(|fact| fact.chars().count()).max();
        text_width(longest.unwrap_or(0)) + 2 * PADDING
    };
    let number = |name: &str| machines.iter().position(|machine| machine.name == name);
    let mut middles: Vec<usize> = Vec::new();
    let mut x = MARGIN + machines.first().map_or(0, head) / 2;
    for (index, machine) in machines.iter().enumerate() {
        if let Some(before) = index.checked_sub(1) {
            let between = steps
                .iter()
                .filter(|step| {
                    let mut ends = [number(step.from.machine), number(step.to.machine)];
                    ends.sort_unstable();
                    ends == [Some(before), Some(index)]
                })
                .map(|step| step.contents.width() + 2 * BESIDE_BOX);
            let heads = (head(&machines[before]) + head(machine)) / 2 + MARGIN;
            x += between.chain([heads]).max().unwrap_or(0);
        }
        middles.push(x);
    }
    // What is unpacked stands on the last machine's line, and may be wider than the machine.
    let last = steps
        .iter()
        .filter(|step| step.from.way == Way::Unpacks)
        .map(|step| step.contents.width());
    let last = last.chain(machines.last().map(head)).max().unwrap_or(0);
    Columns {
        middles,
        width: x + last / 2 + MARGIN,
    }
}

fn draw_machine(
    picture: &mut String,
    machine: &Machine,
    middle: usize,
    top: usize,
    height: usize,
) -> std::fmt::Result {
    let longest = machine.facts.iter().map(|fact| fact.chars().count()).max();
    let width = text_width(longest.unwrap_or(0)) + 2 * PADDING;
    let left = middle - width / 2;
    writeln!(
        picture,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#f8fafc\" \
         stroke=\"{INK}\"/>"
    )?;
    let mut y = top + PADDING + LINE - 5;
    writeln!(
        picture,
        "<text x=\"{middle}\" y=\"{y}\" text-anchor=\"middle\" font-weight=\"bold\" fill=\"{INK}\">{}</text>",
        machine.name
    )?;
    for fact in &machine.facts {
        y += LINE;
        writeln!(
            picture,
            "<text x=\"{middle}\" y=\"{y}\" text-anchor=\"middle\" fill=\"{INK}\">{fact}</text>"
        )?;
    }
    Ok(())
}

fn draw_step(
    picture: &mut String,
    machines: &[Machine],
    columns: &Columns,
    step: &Step<'_>,
    top: usize,
) -> std::fmt::Result {
    let middle_of = |name: &str| {
        let number = machines.iter().position(|machine| machine.name == name);
        number.map_or(MARGIN, |number| columns.middles[number])
    };
    let (from, to) = (middle_of(step.from.machine), middle_of(step.to.machine));
    let (width, height) = (step.contents.width(), step.contents.height());
    let left = (from + to) / 2 - width / 2;
    for (number, layer) in step.contents.layers.iter().enumerate() {
        let y = top + number * LINE;
        writeln!(
            picture,
            "<rect x=\"{left}\" y=\"{y}\" width=\"{width}\" height=\"{LINE}\" fill=\"{}\"/>",
            layer.colour
        )?;
        write!(
            picture,
            "<text x=\"{}\" y=\"{}\" fill=\"{INK}\" xml:space=\"preserve\">",
            left + PADDING,
            y + LINE - 5
        )?;
        for word in &layer.words {
            if word.is_changed {
                write!(
                    picture,
                    "<tspan fill=\"{CHANGED}\" font-weight=\"bold\">{}</tspan>",
                    word.text
                )?;
            } else {
                write!(picture, "{}", word.text)?;
            }
        }
        writeln!(picture, "</text>")?;
    }
    let colour = step.colour;
    writeln!(
        picture,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"{colour}\"/>"
    )?;
    let y = top + height + BELOW_BOX;
    if from == to {
        return writeln!(
            picture,
            "<text x=\"{from}\" y=\"{y}\" text-anchor=\"middle\" fill=\"{colour}\" \
             stroke=\"white\" stroke-width=\"4\" paint-order=\"stroke\">unpacked, in {}</text>",
            step.from.interface
        );
    }
    // The head of the arrow ends at the line; its shaft ends inside the head.
    let (back, shaft) = if to > from {
        (to - 10, to - 8)
    } else {
        (to + 10, to + 8)
    };
    writeln!(
        picture,
        "<line x1=\"{from}\" y1=\"{y}\" x2=\"{shaft}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2\"/>\
         <path d=\"M{to} {y} L{back} {} L{back} {} Z\" fill=\"{colour}\"/>",
        y - 5,
        y + 5
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_lab::hop::Transport;

    fn hop(source: &str, ttl: u8) -> Hop {
        Hop {
            source_mac: "02:00:00:00:00:01".into(),
            destination_mac: "02:00:00:00:00:02".into(),
            outer: None,
            source: source.parse().unwrap(),
            destination: "10.0.0.2:80".parse().unwrap(),
            ttl,
            transport: Transport::Udp,
            payload_len: 0,
        }
    }

    fn sighting(machine: &'static str, way: Way, hop: Hop) -> Sighting {
        Sighting {
            machine,
            interface: "eth0",
            way,
            hop,
        }
    }

    fn picture() -> String {
        let (before, after) = (hop("10.0.0.1:1000", 64), hop("10.0.0.9:1000", 63));
        let path = Path {
            there: vec![
                sighting("client", Way::Sends, before.clone()),
                sighting("weir", Way::Receives, before),
                sighting("weir", Way::Sends, after.clone()),
                sighting("rs1", Way::Receives, after),
            ],
            back: Vec::new(),
            n_checksums: 0,
        };
        let machines = ["client", "weir", "rs1"].map(|name| Machine {
            name,
            facts: vec!["10.0.0.1".into()],
        });
        svg("NAT", &machines, &path)
    }

    #[test]
    fn what_changed_at_a_machine_is_red_and_nothing_else() {
        let picture = picture();
        let red: Vec<&str> = picture
            .split("font-weight=\"bold\">")
            .filter_map(|rest| rest.split_once("</tspan>"))
            .map(|(word, _)| word)
            .filter(|word| !word.contains('<'))
            .collect();
        assert_eq!(red, ["10.0.0.9:1000", "TTL 63"]);
    }

    #[test]
    fn each_wire_has_one_arrow_and_the_same_path_the_same_picture() {
        assert_eq!(picture().matches("<path ").count(), 2);
        assert_eq!(picture(), picture());
    }
}
