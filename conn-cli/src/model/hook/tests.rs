use super::*;

#[test]
fn no_hook_is_left_out() {
    // Serde lists all variants.
    let error = serde_json::from_str::<Hook>("\"\"")
        .unwrap_err()
        .to_string();
    for hook in Hook::ALL {
        assert!(error.contains(&format!("`{}`", hook.name())), "{error}");
    }
    assert_eq!(error.matches('`').count(), 2 * (1 + Hook::ALL.len()));
}

#[test]
fn names_and_codes_are_distinct() {
    for hook in Hook::ALL {
        assert_eq!(Hook::from_name(hook.name()), Some(hook));
        assert_eq!(Hook::from_code(hook.info().code), Some(hook));
        // Serde writes the same name.
        let json = serde_json::to_string(&hook).unwrap();
        assert_eq!(json, format!("\"{}\"", hook.name()));
    }
}

#[test]
fn each_hook_is_a_candidate_for_its_stage_and_has_its_counting_program() {
    for hook in Hook::ALL {
        assert!(candidates(hook.stage()).contains(&hook), "{hook}");
        let info = hook.info();
        for counting in info.counting {
            let is_it = |program: &Program| program.name == *counting;
            assert!(info.programs.iter().any(is_it), "{hook}: {counting}");
        }
    }
}

#[test]
fn a_chosen_hook_must_see_what_is_asked_for() {
    let established = WatchedStages::new([Stage::Syn, Stage::Established]);
    let chosen = |hook, stages: &WatchedStages, task| {
        let needs = Needs {
            task,
            ..Needs::default()
        };
        counting_candidates(hook, stages, needs)
    };
    let both = vec![Hook::SockOps, Hook::Tracepoint];
    assert_eq!(chosen(None, &established, false), Ok(both));
    assert_eq!(
        chosen(Some(Hook::Tracepoint), &established, false),
        Ok(vec![Hook::Tracepoint])
    );
    assert!(chosen(Some(Hook::Kretprobe), &established, false).is_err());
    let syn = WatchedStages::only(Stage::Syn);
    let both = vec![Hook::Requests, Hook::Filter];
    assert_eq!(chosen(None, &syn, false), Ok(both));
    let on_interface = Needs {
        interface: true,
        ..Needs::default()
    };
    assert_eq!(
        counting_candidates(None, &syn, on_interface),
        Ok(vec![Hook::Filter])
    );
    assert!(chosen(Some(Hook::Fentry), &syn, false).is_err());
    let accepted = WatchedStages::only(Stage::Accepted);
    let all = candidates(Stage::Accepted);
    assert_eq!(chosen(None, &accepted, false), Ok(all.to_vec()));
    assert_eq!(chosen(None, &accepted, true), Ok(all[..3].to_vec()));
    assert!(chosen(Some(Hook::Tracepoint), &accepted, true).is_err());
    assert_eq!(
        chosen(Some(Hook::Lsm), &accepted, true),
        Ok(vec![Hook::Lsm])
    );
}

#[test]
fn trampolines_need_the_function_tracer_and_kprobes_where_they_run_through_it() {
    assert!(Hook::Fentry.needs_ftrace() && Hook::Lsm.needs_ftrace());
    let kprobes_need_it = cfg!(target_arch = "x86_64");
    assert_eq!(Hook::Kretprobe.needs_ftrace(), kprobes_need_it);
    assert!(!Hook::SockOps.needs_ftrace() && !Hook::Tracepoint.needs_ftrace());
}
