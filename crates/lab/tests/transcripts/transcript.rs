//! The file of transcripts, read: sections, and in them steps.
//!
//! Promises: every line behind the first section's title is something, or an error that names it.
//! Does not know: what titles mean, what a packet's notation says (`notation`).

use anyhow::{Context, Result, bail};

/// What begins the title of a section.
const SECTION: &str = "### ";
/// Between a step's title and the packet that was sent.
const IN: &str = " in  ";
const OUT: &str = "out ";
const CONNECTION: &str = "conn ";
/// Between two packets that one brought forth.
const AND: &str = " || ";
/// How far lines of listings are indented.
const INDENTATION: &str = "      ";

/// A part of the file: what was done to one director, from its start on.
#[derive(Debug)]
pub(crate) struct Section {
    /// Its title.
    pub(crate) title: String,
    /// What was done, in order.
    pub(crate) steps: Vec<Step>,
}

/// One packet sent, and what was seen then.
#[derive(Debug)]
pub(crate) struct Step {
    /// What the packet is.
    pub(crate) title: String,
    /// The packet as it was sent.
    pub(crate) sent: String,
    /// The packets that came out, in order.
    pub(crate) emitted: Vec<String>,
    /// The whole connection table, where it was looked at.
    pub(crate) connections: Option<Vec<String>>,
    /// The lines of a listing, where there is one.
    pub(crate) listing: Vec<String>,
}

/// Reads the file.
pub(crate) fn read(text: &str) -> Result<Vec<Section>> {
    let mut sections: Vec<Section> = Vec::new();
    let (_, text) = text
        .split_once(&format!("\n{SECTION}"))
        .context("there is no section")?;
    for (index, line) in format!("{SECTION}{text}").lines().enumerate() {
        line_into(&mut sections, line)
            .with_context(|| format!("line {} from the first section on: {line}", index + 1))?;
    }
    Ok(sections)
}

fn line_into(sections: &mut Vec<Section>, line: &str) -> Result<()> {
    if let Some(title) = line.strip_prefix(SECTION) {
        sections.push(Section {
            title: title.to_owned(),
            steps: Vec::new(),
        });
        return Ok(());
    }
    if line.is_empty() {
        return Ok(());
    }
    let steps = &mut sections.last_mut().context("no section")?.steps;
    if let Some((title, packet)) = line.split_once(IN) {
        steps.push(Step {
            title: title.trim().to_owned(),
            sent: packet.to_owned(),
            emitted: Vec::new(),
            connections: None,
            listing: Vec::new(),
        });
        return Ok(());
    }
    let step = steps.last_mut().context("no packet was sent yet")?;
    let words = line.trim_start();
    if let Some(packets) = words.strip_prefix(OUT) {
        if packets != "(nothing)" {
            step.emitted = packets.split(AND).map(str::to_owned).collect();
        }
    } else if let Some(connection) = words.strip_prefix(CONNECTION) {
        let connections = step.connections.get_or_insert_default();
        if connection != "(none)" {
            connections.push(connection.to_owned());
        }
    } else if let Some(row) = line.strip_prefix(INDENTATION) {
        step.listing.push(row.to_owned());
    } else {
        bail!("this is neither a title nor something that was seen");
    }
    Ok(())
}
