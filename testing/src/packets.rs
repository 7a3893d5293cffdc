//! Packets with numbers, and tshark as the referee of captures.

use std::{
    net::UdpSocket,
    path::Path,
    process::Command,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

/// What tshark prints of a file that it reads to its end without a complaint; or its complaint.
fn read(file: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("tshark").arg("-r").arg(file).arg("-n").args(arguments).output().expect("tshark");
    let objections = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() || objections.contains("damaged") || objections.contains("cut short") {
        return Err(objections);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What tshark reads in a file: one row a packet, one column a field. Fails where tshark objects to the file.
#[track_caller]
pub fn tshark(file: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let mut arguments = vec!["-T", "fields", "-E", "occurrence=f"];
    arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
    let rows = read(file, &arguments).unwrap_or_else(|objection| panic!("{}: {objection}", file.display()));
    rows.lines().map(|row| row.split('\t').map(str::to_owned).collect()).collect()
}

/// The packets of a file, or why tshark does not read it to its end.
pub fn try_count(file: &Path) -> Result<usize, String> {
    Ok(read(file, &["-T", "fields", "-e", "frame.number"])?.lines().count())
}

/// The packets of a file that tshark reads to its end.
#[track_caller]
pub fn count(file: &Path) -> usize {
    try_count(file).unwrap_or_else(|objection| panic!("{}: {objection}", file.display()))
}

/// The numbers that are the payload of a capture's UDP packets. Not by tshark's field `data`: an ephemeral port may be
/// one that a dissector has registered (37008 is TZSP), and then there is none.
#[track_caller]
pub fn numbers(file: &Path) -> Vec<u32> {
    let rows = read(file, &["-Y", "udp && !icmp", "-T", "fields", "-e", "udp.payload"]);
    let rows = rows.unwrap_or_else(|objection| panic!("{}: {objection}", file.display()));
    rows.lines().filter(|row| !row.is_empty()).map(|row| u32::from_str_radix(row, 16).expect("a number")).collect()
}

/// Numbered packets to an address, until stopped.
pub struct Traffic {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<u32>,
    /// Where they go.
    pub port: u16,
}

impl Traffic {
    /// To a port of this machine on which somebody listens.
    pub fn here(every: Duration) -> Self {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let port = receiver.local_addr().expect("an address").port();
        Self::start(&format!("127.0.0.1:{port}"), port, every, Some(receiver))
    }

    /// To a port of a node, on which nobody listens.
    pub fn to(address: &str, port: u16, every: Duration) -> Self {
        Self::start(&format!("{address}:{port}"), port, every, None)
    }

    fn start(to: &str, port: u16, every: Duration, receiver: Option<UdpSocket>) -> Self {
        let to = to.to_owned();
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("bind");
            let mut sent = 0u32;
            while stopped.recv_timeout(every).is_err() {
                // Where nobody listens an earlier packet's answer may say so.
                let _ = socket.send_to(&sent.to_be_bytes(), &to);
                sent += 1;
            }
            drop(receiver);
            sent
        });
        Self { stop, thread, port }
    }

    /// Stops, and says how many were sent.
    pub fn stop(self) -> u32 {
        self.stop.send(()).expect("it runs");
        self.thread.join().expect("no panic")
    }
}
