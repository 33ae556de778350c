use super::*;

/// The start of an IPv4 header: nothing more is looked at here.
const IP: [u8; 4] = [0x45, 0, 0, 20];

fn found(start: Next, parts: &[&[u8]]) -> Result<(usize, Vec<u16>), Stop> {
    let found = network(&parts.concat(), 0, start)?;
    Ok((found.offset, found.tags().to_vec()))
}

/// Ethernet's header with an ethertype.
fn ethernet(kind: u16) -> Vec<u8> {
    [
        &[0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2],
        &kind.to_be_bytes()[..],
    ]
    .concat()
}

/// A label stack entry.
fn label(label: u32, bottom: bool) -> [u8; 4] {
    (label << 12 | u32::from(bottom) << 8 | 64).to_be_bytes()
}

#[test]
fn tags_labels_and_sessions_lead_to_ip() {
    let outer = ethernet(0x88a8);
    let tags = [
        &[0, 100, 0x81, 0, 0, 7, 0x88, 0x47],
        &label(16, false)[..],
        &label(17, true),
    ]
    .concat();
    assert_eq!(
        found(Next::Ethernet, &[&outer, &tags, &IP]),
        Ok((14 + 8 + 8, vec![100, 7]))
    );
    let session = [0x11, 0, 0, 1, 0, 22];
    for (protocol, len) in [(&[0, 0x21][..], 2), (&[0x21], 1), (&[0xff, 3, 0, 0x57], 4)] {
        let parts = [&ethernet(0x8864)[..], &session, protocol, &IP];
        assert_eq!(found(Next::Ethernet, &parts), Ok((14 + 6 + len, vec![])));
    }
    // PPP carries labels, too.
    let parts = [&session[..], &[0x02, 0x81], &label(0, true), &IP];
    assert_eq!(found(Next::Ethertype(0x8864), &parts), Ok((12, vec![])));
    // A service header with metadata of type 1, and one of type 2 without any.
    let fixed = [&[0x0f, 0xc6, 1, 1, 0, 0, 1, 255][..], &[0; 16]].concat();
    assert_eq!(
        found(Next::Ethertype(0x894f), &[&fixed, &IP]),
        Ok((24, vec![]))
    );
    let variable = [0x0f, 0xc2, 2, 3, 0, 0, 1, 255];
    let parts = [&variable[..], &ethernet(0x0800), &IP];
    assert_eq!(found(Next::Nsh, &parts), Ok((22, vec![])));
}

#[test]
fn a_pseudo_wire_is_told_from_ip_and_from_other_sorts() {
    let bottom = label(99, true);
    for (word, at) in [(&[0, 0, 0, 5][..], 4 + 4), (&[], 4)] {
        for first in [0x02, 0x60, 0x0a] {
            let mut frame = ethernet(0x8100);
            frame[0] = first;
            // IPv6 it is by its first four bits, where there is no control word: RFC 4928.
            if word.is_empty() && first == 0x60 {
                continue;
            }
            let parts = [&bottom[..], word, &frame, &[0, 9, 0x08, 0], &IP];
            assert_eq!(
                found(Next::Mpls, &parts),
                Ok((at + 18, vec![9])),
                "{word:?} {first}"
            );
        }
    }
    assert_eq!(found(Next::Mpls, &[&bottom, &[0x60; 40]]), Ok((4, vec![])));
    assert_eq!(found(Next::Mpls, &[&bottom, &[0x10; 40]]), Err(Stop::NonIp));
    assert_eq!(
        found(Next::Mpls, &[&label(13, true), &IP]),
        Err(Stop::NonIp)
    );
}

#[test]
fn what_breaks_the_rules_is_named() {
    for (start, bytes, expected) in [
        (
            Next::Mpls,
            label(1, true).to_vec(),
            "decoder.mpls.bad_label_router_alert",
        ),
        (
            Next::Mpls,
            label(3, true).to_vec(),
            "decoder.mpls.bad_label_implicit_null",
        ),
        (
            Next::Mpls,
            label(5, false).repeat(16),
            "decoder.mpls.too_many_labels",
        ),
        (
            Next::Ethertype(0x8864),
            vec![0x11, 9, 0, 0, 0, 0],
            "decoder.pppoe.wrong_code",
        ),
        (
            Next::Ethertype(0x8864),
            vec![0x21, 0, 0, 0, 0, 0],
            "decoder.pppoe.wrong_code",
        ),
        (
            Next::Nsh,
            vec![0x40, 2, 1, 1, 0, 0, 0, 0],
            "decoder.nsh.unsupported_version",
        ),
        (
            Next::Nsh,
            vec![0, 2, 1, 1, 0, 0, 0, 0],
            "decoder.nsh.bad_header_length",
        ),
        (
            Next::Nsh,
            vec![0, 1, 2, 1, 0, 0, 0, 0],
            "decoder.nsh.bad_header_length",
        ),
        (
            Next::Nsh,
            [0, 2, 2, 4, 0, 0, 0, 0].repeat(20),
            "decoder.too_many_layers",
        ),
    ] {
        assert_eq!(found(start, &[&bytes]), Err(Stop::Wrong(expected)));
    }
    let tags = [&ethernet(0x8100)[..], &[0, 1, 0x81, 0].repeat(5)].concat();
    assert_eq!(
        found(Next::Ethernet, &[&tags]),
        Err(Stop::Unparsed(UnparsedReason::VlanDepth))
    );
    for kind in [0x0806, 0x8863, 1500] {
        assert_eq!(
            found(Next::Ethernet, &[&ethernet(kind), &[0; 40]]),
            Err(Stop::NonIp)
        );
    }
    let keep_alive = [0x11, 0, 0, 1, 0, 10, 0xc0, 0x21];
    assert_eq!(
        found(Next::Ethertype(0x8864), &[&keep_alive]),
        Err(Stop::NonIp)
    );
}

#[test]
fn a_header_that_is_cut_is_said_to_be_too_short() {
    let whole = [
        &ethernet(0x8100)[..],
        &[0, 1, 0x88, 0x64],
        &[0x11, 0, 0, 1, 0, 22, 0x02, 0x81],
        &label(40, false),
        &label(41, true),
        &[0, 0, 0, 0],
        &ethernet(0x0800),
        &IP,
    ]
    .concat();
    assert_eq!(
        found(Next::Ethernet, &[&whole]),
        Ok((14 + 4 + 8 + 8 + 4 + 14, vec![1]))
    );
    let control_word = 14 + 4 + 8 + 8;
    for len in 0..control_word + 1 {
        let found = found(Next::Ethernet, &[&whole[..len]]);
        assert!(matches!(found, Err(Stop::Short(_))), "{len}: {found:?}");
    }
}
