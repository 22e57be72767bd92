//! A plan drawn: as an aligned table and as a mermaid flowchart.

use std::fmt::Write as _;

use crate::schema::Schema;

use super::steps::PlanStep;

/// What the table says of a flush that has nothing to do.
const NOTHING: &str = "nothing to flush";

/// The steps as an aligned table, with the notes below.
#[must_use]
pub fn table(steps: &[PlanStep], notes: &[String]) -> String {
    const HEADS: [&str; 7] = [
        "step", "kind", "table", "class", "rows", "what for", "why here",
    ];
    const NUMBERS: [usize; 2] = [0, 4];
    let mut lines = vec![HEADS.map(str::to_owned)];
    for (number, step) in (1..).zip(steps) {
        let columns = step.columns.join(", ");
        let what = if columns.is_empty() {
            step.what.clone()
        } else {
            format!("SET {columns}: {}", step.what)
        };
        lines.push([
            format!("{number}"),
            step.kind.verb().to_owned(),
            step.table.clone(),
            step.mapper.clone(),
            step.rows.len().to_string(),
            what,
            step.reason.clone(),
        ]);
    }
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let mut text = String::new();
    if steps.is_empty() {
        text.push_str(NOTHING);
    } else {
        for line in &lines {
            let mut row = String::new();
            for (column, cell) in line.iter().enumerate() {
                let width = widths[column];
                let gap = if column == 0 { "" } else { "  " };
                let _ = if NUMBERS.contains(&column) {
                    write!(row, "{gap}{cell:>width$}")
                } else {
                    write!(row, "{gap}{cell:<width$}")
                };
            }
            text.push_str(row.trim_end());
            text.push('\n');
        }
        text.pop();
    }
    for note in notes {
        text.push_str("\nnote: ");
        text.push_str(note);
    }
    text
}

/// The steps as a mermaid flowchart; arrows carry the reason why one step waits for another.
#[must_use]
pub fn mermaid(schema: &Schema, steps: &[PlanStep]) -> String {
    let mut text = String::from("flowchart TD\n");
    if steps.is_empty() {
        let _ = writeln!(text, "    nothing[\"{NOTHING}\"]");
    }
    for (number, step) in (1..).zip(steps) {
        let rows = match step.rows.len() {
            1 => "1 row".to_owned(),
            rows => format!("{rows} rows"),
        };
        let _ = writeln!(
            text,
            "    s{number}[\"{number}: {} {}<br/>{}, {rows}<br/>{}\"]",
            step.kind.verb(),
            escaped(&step.table),
            escaped(&step.mapper),
            escaped(&step.what),
        );
    }
    for (number, step) in (1..).zip(steps) {
        for wait in &step.waits {
            let label = escaped(&wait.reason.label(schema));
            let _ = writeln!(text, "    s{} -->|\"{label}\"| s{number}", wait.step + 1);
        }
    }
    text
}

/// Names as mermaid takes them inside quotes.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '"' => text.push_str("#quot;"),
            '#' => text.push_str("#35;"),
            '<' => text.push_str("#lt;"),
            '>' => text.push_str("#gt;"),
            '\n' => text.push(' '),
            letter => text.push(letter),
        }
    }
    text
}
