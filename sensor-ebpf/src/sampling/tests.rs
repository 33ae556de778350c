use super::*;

fn decide_for(
    settings: &Settings,
    state: State,
    dst_port: u16,
    tcp_flags: u8,
) -> Option<SampleClass> {
    let key = FlowKey {
        dst_port,
        src_port: 1024,
        protocol: 6,
        ..FlowKey::default()
    };
    decide(settings, Some(state), &key, tcp_flags, 1)
}

#[test]
fn classes_come_in_order_and_verdicts_win() {
    let settings = Settings {
        first_packets: 2,
        ..Settings::default()
    };
    let fresh = State::default();
    let seen = fresh.after_sample().after_sample();
    assert_eq!(
        decide_for(&settings, fresh, 443, 0x10),
        Some(SampleClass::First)
    );
    assert_eq!(decide_for(&settings, seen, 443, 0x10), None);
    assert_eq!(
        decide_for(&settings, seen, 53, 0x10),
        Some(SampleClass::Dns)
    );
    assert_eq!(
        decide_for(&settings, seen, 53, 0x02),
        Some(SampleClass::Control)
    );
    assert_eq!(
        decide_for(&settings, State::of(Verdict::Enough), 53, 0x02),
        None
    );
    assert_eq!(
        decide_for(&settings, State::of(Verdict::More), 443, 0),
        Some(SampleClass::Full)
    );
    let off = Settings {
        mode: mode::SAMPLE_OFF,
        ..settings
    };
    assert_eq!(decide_for(&off, fresh, 53, 2), None);
    let full = Settings {
        mode: mode::SAMPLE_FULL,
        ..settings
    };
    assert_eq!(
        decide_for(&full, State::of(Verdict::Enough), 9, 0),
        Some(SampleClass::Full)
    );
    assert_eq!(without_key(&settings), None);
}

#[test]
fn one_in_m_of_the_rest_is_taken_evenly() {
    let settings = Settings {
        rest_below: Settings::rest_below(100),
        ..Settings::default()
    };
    let key = FlowKey::default();
    for start in [0_u64, 12_345, u64::from(u32::MAX) - 5_000] {
        let taken = (start..start + 10_000)
            .filter(|count| decide(&settings, None, &key, 0, *count).is_some())
            .count();
        assert!(
            (98..=102).contains(&taken),
            "{taken} of 10,000 from {start}"
        );
    }
    assert_eq!(Settings::rest_below(0), 0);
}

#[test]
fn a_state_counts_up_to_its_limit_and_keeps_its_verdict() {
    let full = State(u64::from(MAX_SAMPLED));
    assert_eq!(full.after_sample(), full);
    let state = State(5).with_verdict_of(State::of(Verdict::Enough));
    assert_eq!((state.sampled(), state.verdict()), (5, Verdict::Enough));
    assert_eq!(state.after_sample().verdict(), Verdict::Enough);
}
