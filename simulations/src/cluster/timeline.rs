//! A picture of a run: nodes over time, with what was wrong with them, and what clients got.

use std::fmt::Write;

use super::{Outcome, Setup};
use crate::history::{Action, Outcome as Ended};

const WIDTH: f64 = 1_200.0;
const LEFT: f64 = 90.0;
const LANE: f64 = 46.0;
const TOP: f64 = 56.0;

/// Colours of spans; drawn from the back to the front.
const KINDS: [(&str, &str, f64); 5] = [
    ("down", "#3b3b46", 30.0),
    ("cut off", "#e0912f", 8.0),
    ("paused", "#8d7ad1", 22.0),
    ("slow disk", "#c7b26a", 14.0),
    ("full disk", "#b0563f", 14.0),
];

/// Draws a run that was recorded, as SVG.
pub fn draw(setup: &Setup, outcome: &Outcome) -> String {
    let nodes = setup.profile.nodes;
    let until_us = outcome.virtual_us.max(1);
    let clients = usize::try_from(setup.profile.clients).unwrap_or(1);
    let height = TOP + LANE * (nodes as f64 + 1.0) + 14.0 * clients as f64 + 70.0;
    let x = |at_us: u64| LEFT + (WIDTH - LEFT - 20.0) * at_us as f64 / until_us as f64;
    let mut svg = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fbfaf7\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">seed {}: {} nodes, {} clients, {:.1} virtual \
         seconds</text>",
        outcome.seed,
        nodes,
        clients,
        until_us as f64 / 1e6
    );
    axis(&mut svg, until_us, height, &x);
    for node in 0..nodes {
        let y = TOP + LANE * node as f64;
        let _ = writeln!(
            svg,
            "<text x=\"12\" y=\"{:.1}\">node {node}</text>\
             <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"30\" fill=\"#dfe8df\"/>",
            y + 20.0,
            WIDTH - LEFT - 20.0
        );
    }
    for (kind, colour, thickness) in KINDS {
        for span in outcome.spans.iter().filter(|span| span.kind == kind) {
            let (from, until) = (x(span.from_us), x(span.until_us.unwrap_or(until_us)));
            let y = TOP + LANE * span.node as f64 + (30.0 - thickness);
            let _ = writeln!(
                svg,
                "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{thickness}\" \
                 fill=\"{colour}\"><title>{kind}</title></rect>",
                (until - from).max(1.0)
            );
        }
    }
    operations(&mut svg, outcome, nodes, clients, &x);
    legend(&mut svg, height);
    for violation in &outcome.violations {
        let first = violation.to_string();
        let line = first.lines().next().unwrap_or_default().to_owned();
        let short: String = line.chars().take(150).collect();
        let at = x(until_us);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"40\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#d01c1c\" \
             stroke-width=\"2\"/><text x=\"{LEFT}\" y=\"40\" fill=\"#d01c1c\">{}</text>",
            height - 50.0,
            escape(&short)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn axis(svg: &mut String, until_us: u64, height: f64, x: &impl Fn(u64) -> f64) {
    let step_s = [1, 2, 5, 10, 20, 60]
        .into_iter()
        .find(|step| until_us / 1_000_000 / step <= 20)
        .unwrap_or(120);
    let mut second = 0;
    while second * 1_000_000 <= until_us {
        let at = x(second * 1_000_000);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"48\" x2=\"{at:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" fill=\"#777\" font-size=\"10\">{second} s</text>",
            height - 44.0,
            height - 32.0
        );
        second += step_s;
    }
}

fn operations(
    svg: &mut String,
    outcome: &Outcome,
    nodes: usize,
    clients: usize,
    x: &impl Fn(u64) -> f64,
) {
    for client in 0..clients {
        let y = TOP + LANE * nodes as f64 + 20.0 + 14.0 * client as f64;
        let _ = writeln!(
            svg,
            "<text x=\"12\" y=\"{:.1}\">client {client}</text>",
            y + 8.0
        );
    }
    for operation in &outcome.history {
        let client = operation.client as usize;
        if client >= clients {
            continue;
        }
        let colour = match operation.action {
            Action::Get(_) => "#7aa6c2",
            Action::Write { outcome, .. } => match outcome {
                Ended::Written { .. } => "#3f8f4f",
                Ended::Conflict { .. } => "#b5a642",
                Ended::Unknown => "#d05f1c",
                Ended::Refused => "#999",
            },
        };
        let y = TOP + LANE * nodes as f64 + 20.0 + 14.0 * client as f64;
        let (from, until) = (x(operation.call_us), x(operation.return_us));
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"9\" fill=\"{colour}\"/>",
            (until - from).max(0.7)
        );
    }
}

fn legend(svg: &mut String, height: f64) {
    let operations = [
        ("read", "#7aa6c2"),
        ("written", "#3f8f4f"),
        ("conflict", "#b5a642"),
        ("unknown", "#d05f1c"),
    ];
    let kinds = KINDS.iter().map(|(kind, colour, _)| (*kind, *colour));
    for (position, (name, colour)) in kinds.chain(operations).enumerate() {
        let at = LEFT + 110.0 * position as f64;
        let y = height - 16.0;
        let _ = writeln!(
            svg,
            "<rect x=\"{at:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{y:.1}\">{name}</text>",
            y - 9.0,
            at + 14.0
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
