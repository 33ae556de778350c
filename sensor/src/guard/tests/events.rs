//! What everybody is told.

use super::*;

#[test]
fn change_of_state_is_an_alert_with_its_story() {
    let mut simulation = Simulation::new(&config());
    simulation.seconds(3, flood(50_000));
    let flood = syn_flood::Config::default();
    let at = crate::core::time::Timestamp(1_700_000_000 * SECOND);
    let event = event(&simulation.turns[0], Mode::Mitigate, &flood, at);
    let json = serde_json::to_value(&event).unwrap();
    assert_eq!(json["event_type"], "alert");
    assert_eq!(json["alert"]["signature"], "SENSOR SYN flood mitigated");
    assert_eq!(json["alert"]["action"], "blocked");
    assert_eq!(json["dest_ip"], "192.0.2.1");
    assert_eq!(json["dest_port"], 80);
    let guard = &json["sensor"]["guard"];
    assert_eq!(guard["state"], "mitigating");
    assert_eq!(guard["previous_state"], "normal");
    assert_eq!(guard["method"], "cookie");
    assert_eq!(guard["counted"]["syn"], 50_000);
    assert_eq!(json["sensor"]["observed"]["syns_per_second"], 50_000);
}
