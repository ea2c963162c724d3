//! The screen: a pure function of a [`View`]. The terminal's own colours only, and never alone.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Gauge, Paragraph, Row, Table};

use super::view::View;

pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let queue_rows = (view.queues.len().max(1) as u16 + 2).clamp(4, 8);
    let [header, numbers, queues, runners, actions] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(3),
        Constraint::Length(queue_rows),
        Constraint::Length((view.max as u16 + 3).min(9)),
        Constraint::Min(3),
    ])
    .areas(frame.area());
    frame.render_widget(head(view), header);
    figures(frame, numbers, view);
    frame.render_widget(queue_table(view), queues);
    frame.render_widget(runner_table(view), runners);
    frame.render_widget(action_list(view, actions), actions);
}

fn head(view: &View) -> Paragraph<'_> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    Paragraph::new(vec![
        Line::from(vec![
            Span::styled("ipfs-accelerate demo", bold),
            Span::raw(format!("  running for {}", short(view.elapsed))),
            Span::raw("  ·  q or Ctrl-C ends it"),
        ]),
        Line::from(format!("Engine: {}", view.engine)),
        Line::from(format!("Dashboard: {}", view.dashboard)),
    ])
}

fn figures(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let [gauge, text] =
        Layout::horizontal([Constraint::Length(34), Constraint::Min(20)]).areas(area);
    let part = view.used as f64 / view.max.max(1) as f64;
    frame.render_widget(
        Gauge::default()
            .block(Block::new().borders(Borders::ALL).title(" runners "))
            .gauge_style(Style::new().fg(Color::Green))
            .ratio(part.clamp(0.0, 1.0))
            .label(format!("{} of {}", view.used, view.max)),
        gauge,
    );
    let tally = &view.tally;
    let oldest = tally.oldest.map(|oldest| format!(" ({})", short(oldest))).unwrap_or_default();
    let first = format!(
        " {} served, {} running, {} waiting{oldest}",
        tally.served, tally.running, tally.waiting
    );
    let second = format!(" {} API requests, {} of them free (304)", view.requests, view.free);
    let third = match tally.quantile(0.5) {
        Some(median) => format!(" median from queued to started: {}", short(median)),
        None => " no job has started yet".to_owned(),
    };
    frame.render_widget(
        Paragraph::new(vec![Line::from(first), Line::from(third), Line::from(second)]),
        text,
    );
}

fn queue_table(view: &View) -> Table<'_> {
    let rows: Vec<Row<'_>> = if view.queues.is_empty() {
        vec![Row::new(["No job waits for a runner."])]
    } else {
        let row = |queue: &super::view::Queue| {
            let why = Cell::from(queue.why.clone());
            Row::new([
                Cell::from(queue.repo.clone()),
                Cell::from(queue.jobs.to_string()),
                Cell::from(short(queue.oldest)),
                why,
            ])
        };
        view.queues.iter().map(row).collect()
    };
    let widths =
        [Constraint::Length(28), Constraint::Length(5), Constraint::Length(7), Constraint::Min(20)];
    Table::new(rows, widths)
        .header(heading(["repository", "jobs", "oldest", "why they wait"]))
        .block(titled(" queue "))
}

fn runner_table(view: &View) -> Table<'_> {
    let rows = view.runners.iter().map(|runner| {
        let colour = match runner.phase {
            "busy" => Style::new().fg(Color::Green),
            "idle" => Style::new().fg(Color::Blue),
            _ => Style::new().fg(Color::Yellow),
        };
        Row::new([
            Cell::from(runner.name.clone()),
            Cell::from(Span::styled(runner.phase, colour)),
            Cell::from(runner.repo.clone()),
            Cell::from(runner.job.clone()),
            Cell::from(short(runner.age)),
        ])
    });
    let widths = [
        Constraint::Length(10),
        Constraint::Length(9),
        Constraint::Length(24),
        Constraint::Min(12),
        Constraint::Length(7),
    ];
    Table::new(rows, widths)
        .header(heading(["runner", "phase", "repository", "job", "age"]))
        .block(titled(" runners "))
}

fn action_list(view: &View, area: Rect) -> Paragraph<'_> {
    let room = usize::from(area.height.saturating_sub(1));
    let lines: Vec<Line<'_>> = view
        .actions
        .iter()
        .take(room)
        .map(|action| {
            let mark = if action.failed { "! " } else { "  " };
            let style = if action.failed { Style::new().fg(Color::Red) } else { Style::new() };
            let time = action.at.format("%H:%M:%S");
            Line::styled(format!("{time} {mark}{}", action.text), style)
        })
        .collect();
    Paragraph::new(lines).block(titled(" last actions "))
}

fn titled(title: &str) -> Block<'_> {
    Block::new().borders(Borders::TOP).title(title)
}

fn heading<const N: usize>(names: [&str; N]) -> Row<'_> {
    Row::new(
        names.map(|name| Cell::from(Span::styled(name, Style::new().add_modifier(Modifier::BOLD)))),
    )
}

/// A duration as people say it.
pub(super) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match duration.as_secs() {
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{seconds:.0} s"),
        whole => format!("{} min", whole / 60),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::interfaces::demo::view::{Action, Line as Runner, Queue, Tally};

    fn view() -> View {
        View {
            engine: "Docker Engine 28.2".into(),
            github: "http://127.0.0.1:1".into(),
            dashboard: "http://127.0.0.1:2/#code=1".into(),
            elapsed: Duration::from_secs(75),
            used: 3,
            max: 4,
            most: 4,
            tally: Tally {
                waiting: 2,
                oldest: Some(Duration::from_secs(4)),
                served: 7,
                ..Tally::default()
            },
            requests: 90,
            free: 60,
            queues: vec![Queue {
                repo: "acme/models".into(),
                jobs: 1,
                oldest: Duration::from_secs(4),
                why: "no runner here has the labels gpu".into(),
            }],
            runners: vec![Runner {
                name: "abcdefgh".into(),
                repo: "acme/web".into(),
                phase: "busy",
                job: "test (3)".into(),
                age: Duration::from_secs(5),
            }],
            actions: vec![Action {
                at: DateTime::UNIX_EPOCH,
                failed: true,
                text: "acme/web: it failed".into(),
            }],
        }
    }

    fn screen(width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &view())).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn what_matters_is_on_the_screen_at_eighty_by_twenty_four() {
        let screen = screen(80, 24);
        for text in [
            "running for 75 s",
            "Docker Engine 28.2",
            "3 of 4",
            "7 served, 0 running, 2 waiting (4.0 s)",
            "60 of them free",
            "no runner here has the labels gpu",
            "busy",
            "test (3)",
            "! acme/web: it failed",
        ] {
            assert!(screen.contains(text), "{text}:\n{screen}");
        }
    }

    #[test]
    fn it_can_be_drawn_in_a_window_of_any_size() {
        for (width, height) in [(1, 1), (20, 5), (40, 10), (200, 60)] {
            screen(width, height);
        }
    }
}
