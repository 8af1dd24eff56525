//! The page of figures and pictures in the documentation.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use crate::SCENARIOS;
use crate::lane::TIME;
use crate::plot;
use crate::report::{Comparison, Report, Section};

/// Writes the figures, the page and the pictures into a folder.
pub(crate) fn write(report: &Report, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("figures.json"), report.json())?;
    let mut page = head(report);
    for section in &report.sections {
        let picture = plot::svg(section);
        if let Some(picture) = &picture {
            fs::write(folder.join(format!("{}.svg", section.scenario)), picture)?;
        }
        describe(&mut page, section, picture.is_some());
    }
    fs::write(folder.join("README.md"), page)
}

fn head(report: &Report) -> String {
    let Report {
        machine, rounds, ..
    } = report;
    let time = TIME.as_millis();
    let names = report.sections.iter().map(|it| it.scenario.as_str());
    let names: Vec<_> = names.collect();
    let scenarios = match names.len() {
        all if all == SCENARIOS.len() => String::new(),
        _ => format!("{} ", names.join(" ")),
    };
    format!(
        "# Benchmarks

Written by `cargo xtask bench {scenarios}--rounds {rounds} --write docs/benchmarks`, on {machine}. The figures are in
[figures.json](figures.json), with which `cargo xtask bench --compare docs/benchmarks/figures.json` compares
another run.

## Method

- Everything runs in network namespaces of one machine: what goes \"between hosts\" goes over a veth pair, and no
  network card is measured. Client, server and all that is between them share its processors.
- The ways are measured in turns, {time} ms each, so that whatever else the machine does meets all of them; the
  first round is thrown away. A figure is the median of {rounds} rounds, with the quartiles in brackets. The
  factor behind it is the median of the rounds' own ratios to the first way of the table.
- The machine is virtual and shared. Compare the rows of a table, not figures of different tables; where
  quartiles overlap, there may be no difference.
- Nothing is bound to a processor. Where the scheduler lets both ends share one, figures differ from where it does
  not: a wide spread may be two groups, and the factor, which compares what was measured one after the other, says
  more than the quotient of two medians.
- Round trips are those of a 22-byte UDP payload, one at a time. Small frames are 64 bytes with their checksum,
  sent by one thread, 64 a system call. \"Processor time per frame\" is that of the sending thread, which does all the
  kernel's work up to the receiver's socket, and of `ksoftirqd`. Frames \"made in the kernel\" are those that a program
  of XDP sends by itself (`BPF_F_TEST_XDP_LIVE_FRAMES`) and that a program at the server's interface drops: no sender
  and no socket are in that figure, which is what a processor brings that does nothing else. New connections are opened, answered with a
  byte and reset, one at a time. Bulk TCP has all offloads on and is bound by copying at its ends.
"
    )
}

fn describe(page: &mut String, section: &Section, has_picture: bool) {
    let Section {
        scenario,
        about,
        load_average,
        comparisons,
        costs,
        notes,
    } = section;
    let _ = writeln!(
        page,
        "\n## {scenario}\n\n{about} Load average at its beginning: {load_average}."
    );
    if has_picture {
        let _ = writeln!(page, "\n![{scenario}]({scenario}.svg)");
    }
    let mut rest = comparisons.as_slice();
    while let [first, ..] = rest {
        let count = rest.iter().take_while(|it| it.case == first.case).count();
        let (table, others) = rest.split_at(count);
        compare(page, table);
        rest = others;
    }
    if !costs.is_empty() {
        *page += "\n| | | | aim |\n| --- | --- | --- | --- |\n";
    }
    for cost in costs {
        let aim = cost.aim.map(|aim| aim.to_string()).unwrap_or_default();
        let _ = writeln!(
            page,
            "| {} | {} | {} | {aim} |",
            cost.name, cost.figure, cost.unit
        );
    }
    for note in notes {
        let _ = writeln!(page, "\n{note}.");
    }
}

/// A table of comparisons that have the same ways.
fn compare(page: &mut String, comparisons: &[Comparison]) {
    let Some(first) = comparisons.first() else {
        return;
    };
    let _ = write!(page, "\n| {} |", first.case);
    for Comparison { name, unit, .. } in comparisons {
        let _ = write!(page, " {name}, {unit} |");
    }
    let _ = write!(page, "\n| --- |{}", " --- |".repeat(comparisons.len()));
    for (index, way) in first.ways.iter().enumerate() {
        let _ = write!(page, "\n| {} |", way.way);
        for comparison in comparisons {
            let way = &comparison.ways[index];
            let _ = write!(page, " {} x{:.2} |", way.figure, way.ratio);
        }
    }
    *page += "\n";
}
