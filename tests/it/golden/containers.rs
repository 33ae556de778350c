use std::{fs, io::Cursor, path::Path};

use sensor::source::capture::Reader;

use super::{capture, events, events_of};

#[test]
fn a_capture_reads_the_same_from_every_container() {
    let plain = events_of("http.pcap");
    for name in ["http.pcapng", "http.pcap.gz", "http.pcap.zst"] {
        assert_eq!(events_of(name), plain, "{name}");
    }
    assert_eq!(events_of("dns-nano.pcap"), events_of("dns.pcap"));
}

#[test]
fn a_capture_cut_anywhere_gives_what_came_before_and_one_error() {
    let name = "dns.pcap";
    let whole = fs::read(capture(name)).unwrap();
    let packets = Reader::open(&capture(name)).unwrap().count();
    let mut clean = 0;
    for keep in 24..whole.len() {
        let source = Box::new(Cursor::new(whole[..keep].to_vec()));
        let reader = Reader::from_source(Path::new("cut"), source).unwrap();
        let (_, error) = events(reader);
        match error {
            // Between two packets nothing tells that there were more.
            None => clean += 1,
            Some(error) => {
                let text = error.to_string();
                assert!(
                    text.contains("the file is cut off") && !text.contains('\n'),
                    "{text}"
                );
            }
        }
    }
    assert_eq!(clean, packets, "only cuts between packets are clean");
}

#[test]
fn compressed_captures_that_are_cut_are_told() {
    for name in ["http.pcap.gz", "http.pcap.zst"] {
        let whole = fs::read(capture(name)).unwrap();
        for keep in [20, whole.len() / 2, whole.len() - 1] {
            let source = Box::new(Cursor::new(whole[..keep].to_vec()));
            let error = match Reader::from_source(Path::new("cut"), source) {
                Ok(reader) => events(reader).1.expect("a break"),
                Err(error) => error,
            };
            assert!(
                error.to_string().starts_with("cut: stopped at byte "),
                "{error}"
            );
        }
    }
}
