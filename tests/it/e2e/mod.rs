//! The whole sensor in the lab: real traffic in, events and metrics out. All of it needs root.

mod counts;
mod events;
mod keep_alive;
mod lab;
mod lifecycle;
mod passive;
mod scrape;
mod tunnels;

use sensor_tests::traffic::Servers;
use sensor_tests::{Counters, Lab, LabOptions, Sensor, SensorOptions};

/// A lab with servers and an attached sensor.
struct Scene {
    sensor: Sensor,
    _servers: Servers,
    lab: Lab,
}

impl Scene {
    fn new(args: &[&str]) -> Self {
        let lab = Lab::new(LabOptions::default()).expect("the lab is laid");
        let servers = Servers::start(&lab.server).expect("servers");
        let args = args.iter().map(|&word| word.to_owned()).collect();
        let options = SensorOptions {
            args,
            ..SensorOptions::default()
        };
        let sensor = Sensor::start(&lab.server, &options).expect("the sensor starts");
        Self {
            sensor,
            _servers: servers,
            lab,
        }
    }

    /// The kernel's counters of the device and the sensor's, of one quiet moment.
    fn balance(&self) -> Balance {
        sensor_tests::until("a quiet moment", || {
            let kernel = self.lab.server.counters().expect("counters");
            let sum = |name, direction: &str| self.sensor.sum(name, &[direction]).expect("a sum");
            let (ingress, egress) = ("direction=\"ingress\"", "direction=\"egress\"");
            let balance = Balance {
                kernel,
                ingress: [
                    sum("sensor_packets_total", ingress) as u64,
                    sum("sensor_bytes_total", ingress) as u64,
                ],
                egress: [
                    sum("sensor_packets_total", egress) as u64,
                    sum("sensor_bytes_total", egress) as u64,
                ],
            };
            (self.lab.server.counters().expect("counters") == kernel).then_some(balance)
        })
        .expect("a quiet moment")
    }

    fn accounting_error(&self) -> f64 {
        self.sensor
            .sum("sensor_accounting_error_packets", &[])
            .expect("the gauge")
    }
}

/// Two independent counts: packets and bytes.
#[derive(Clone, Copy, Debug)]
struct Balance {
    kernel: Counters,
    ingress: [u64; 2],
    egress: [u64; 2],
}

impl Balance {
    /// Asserts that both counted the same since `earlier`, and returns how many packets that was
    /// in and out.
    #[track_caller]
    fn assert_equal_since(&self, earlier: &Self) -> [u64; 2] {
        let kernel = self.kernel.since(earlier.kernel);
        let minus = |now: [u64; 2], then: [u64; 2]| [now[0] - then[0], now[1] - then[1]];
        let ingress = minus(self.ingress, earlier.ingress);
        let egress = minus(self.egress, earlier.egress);
        assert_eq!(ingress, [kernel.rx_packets, kernel.rx_bytes], "ingress");
        // What the other end's queue has no room for has passed the egress program.
        let sent = kernel.tx_packets + kernel.tx_dropped;
        assert_eq!(egress[0], sent, "egress: {kernel:?}");
        if kernel.tx_dropped == 0 {
            // A veth whose other end runs NAPI counts sent bytes there, after the Ethernet
            // header has been taken off.
            let bytes = kernel.tx_bytes + 14 * kernel.tx_packets;
            assert_eq!(egress[1], bytes, "egress");
        }
        [ingress[0], egress[0]]
    }
}
