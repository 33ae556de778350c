use sensor::{
    bpf::XdpMode,
    metrics::{Device, Exporter, Snapshot},
};

use super::promtool;

/// A scrape of a sensor with one interface and an output.
fn scrape() -> String {
    let mut snapshot = Snapshot::default();
    let device = Device {
        mode: Some(XdpMode::Native),
        ..Device::default()
    };
    snapshot.devices.insert("eth0".to_owned(), device);
    snapshot
        .outputs
        .insert("eve_file", sensor::metrics::Output::default());
    let exporter = Exporter::new().unwrap();
    exporter.publish(snapshot);
    exporter.text().unwrap()
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let Some(output) = promtool(&["check", "metrics"], &scrape()) else {
        return;
    };
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{complaints}"
    );
}

#[test]
fn promtool_complains_about_bad_metrics() {
    let bad = "# TYPE sensor_bad counter\nsensor_bad 1\n";
    let Some(output) = promtool(&["check", "metrics"], bad) else {
        return;
    };
    assert!(!output.status.success() || !output.stderr.is_empty());
}
