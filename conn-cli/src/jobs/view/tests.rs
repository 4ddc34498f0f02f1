use jiff::Timestamp;

use super::*;
use crate::model::{
    connection::{Host, Source, When},
    hook::Hook,
};

fn connection(client: u8, source: Source) -> Connection {
    Connection {
        time: When::At(Timestamp::UNIX_EPOCH),
        remote: Host::at([192, 0, 2, client]),
        remote_port: Some(40000),
        local: Host::at([192, 0, 2, 100]),
        local_port: Some(80),
        ..Connection::unknown(source)
    }
}

const FENTRY: Source = Source::Hook(Hook::Fentry);

fn view(options: &ShowOptions) -> View {
    let known = Known::for_options(options).unwrap();
    let stages = WatchedStages::only(Stage::Accepted);
    let live = Some((&stages, Timestamp::now()));
    View::new(options, Scope::default(), live, known)
}

fn first_two() -> ShowOptions {
    ShowOptions {
        count: Some(2),
        ..ShowOptions::default()
    }
}

fn lines(view: &mut View) -> usize {
    let text = String::from_utf8(view.stdout.buffer().clone()).unwrap();
    text.lines().count()
}

#[test]
fn the_limit_applies_to_lines_and_summary() {
    let mut view = view(&first_two());
    view.show(&connection(1, Source::Hook(Hook::Kretprobe)));
    assert!(view.first_ones().is_none());
    view.show(&connection(2, Source::SecondHook));
    view.show(&connection(3, Source::SecondHook));
    assert_eq!(lines(&mut view), 2);
    assert_eq!(view.arrived, 3);
    let first = view.first_ones().unwrap();
    assert_eq!(first.connections(), 2);
    assert_eq!(first.counts().connections(Stage::Accepted), 2);
    assert_eq!(first.second_hook_only(), 1);
}

#[test]
fn quiet_counts_without_lines() {
    let mut view = view(&ShowOptions {
        lines: Lines::None,
        ..first_two()
    });
    view.show(&connection(1, FENTRY));
    assert_eq!(lines(&mut view), 0);
    assert_eq!(view.arrived, 1);
}

#[test]
fn without_a_limit_everything_is_shown() {
    let mut view = view(&ShowOptions::default());
    for client in 0..100 {
        view.show(&connection(client, FENTRY));
    }
    assert_eq!(lines(&mut view), 100);
    assert!(view.first_ones().is_none());
}
