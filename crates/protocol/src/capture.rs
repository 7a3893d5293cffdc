//! Captures as they cross the wire: what to capture, how it goes, what it counts.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{FreezeCause, FreezeOn, Seconds, UnixMillis};

/// What to capture. [`CaptureSpec::default`] is what a bare keystroke starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureSpec {
    /// Interfaces by name; empty means the agent's default interfaces.
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// A capture filter as libpcap has them; `None` takes every packet.
    #[serde(default)]
    pub filter: Option<String>,
    /// Where no interface is named: addresses of pods, whose interfaces are taken instead of the default ones. At most
    /// [`CaptureSpec::MOST_TOWARD`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub toward: Vec<IpAddr>,
    /// Bytes kept of each packet, 1 to [`CaptureSpec::MAX_SNAPLEN`].
    pub snaplen: u32,
    /// A file is closed and the next begun at so many bytes.
    pub rotate_bytes: u64,
    /// A file is closed and the next begun after so many seconds.
    pub rotate_seconds: Seconds,
    /// The oldest closed file goes when all files together would be over this.
    pub ring_bytes: u64,
    /// The capture ends at so many bytes written.
    #[serde(default)]
    pub limit_bytes: Option<u64>,
    /// The capture ends at so many packets.
    #[serde(default)]
    pub limit_packets: Option<u64>,
    /// The capture ends after so many seconds.
    #[serde(default)]
    pub limit_seconds: Option<Seconds>,
    /// What is kept of each packet, within the snaplen.
    #[serde(default)]
    pub content: Content,
    /// This product's own traffic is captured too.
    #[serde(default)]
    pub include_own: bool,
    /// Only the last of it is kept, until it is frozen; `None` keeps all of it.
    #[serde(default)]
    pub recorder: Option<Recorder>,
    /// When the flight recorder freezes by itself; `None` leaves that to whoever asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze_on: Option<FreezeOn>,
    /// A bundle of the node's network state goes along with it. The laptop takes it; what the agent captures is the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bundle: bool,
}

/// What is kept of a packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// From the link layer to the end of the transport layer's header, inside tunnels that of the packet that they carry; no
    /// payload.
    #[default]
    Headers,
    /// The same, and the whole of what goes from or to port 53 or 5353.
    Dns,
    /// Everything, up to the snaplen.
    Full,
}

impl Content {
    /// All of them, from the least that is kept.
    pub const ALL: [Self; 3] = [Self::Headers, Self::Dns, Self::Full];

    /// As the command line has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Dns => "dns",
            Self::Full => "full",
        }
    }
}

/// A flight recorder: an armed capture keeps so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorder {
    /// Packets older than this may go.
    pub seconds: Seconds,
    /// The oldest go when all of them would take more than this.
    pub bytes: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { seconds: Seconds::new(120), bytes: 256 * 1024 * 1024 }
    }
}

/// The part of a flight recorder's time that is to be saved, counted from when the agent is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Seconds back.
    pub before_seconds: Seconds,
    /// Seconds on.
    pub after_seconds: Seconds,
    /// Why, where nobody has pressed a key: one reason freezes once in ten minutes, whoever has found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FreezeCause>,
}

impl Default for Freeze {
    fn default() -> Self {
        Self { before_seconds: Seconds::new(30), after_seconds: Seconds::new(10), cause: None }
    }
}

impl CaptureSpec {
    /// libpcap's own largest snaplen.
    pub const MAX_SNAPLEN: u32 = 262_144;
    /// More addresses of pods than this are on no node.
    pub const MOST_TOWARD: usize = 512;
    /// Below this a file holds little more than its headers.
    pub const MIN_FILE: u64 = 64 * 1024;

    /// Refuses numbers that no capture can have.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.snaplen == 0 || self.snaplen > Self::MAX_SNAPLEN {
            return Err(SpecError::Snaplen(self.snaplen));
        }
        if self.toward.len() > Self::MOST_TOWARD {
            return Err(SpecError::Toward(self.toward.len()));
        }
        if self.rotate_bytes < Self::MIN_FILE {
            return Err(SpecError::RotateBytes(self.rotate_bytes));
        }
        if self.rotate_seconds.get() == 0 {
            return Err(SpecError::RotateSeconds);
        }
        if self.ring_bytes < self.rotate_bytes {
            return Err(SpecError::Ring { ring: self.ring_bytes, file: self.rotate_bytes });
        }
        if let Some(Recorder { seconds, bytes }) = self.recorder {
            if seconds.get() == 0 {
                return Err(SpecError::RecorderSeconds);
            }
            // What is frozen needs as much room again.
            if bytes < Self::MIN_FILE || bytes > self.ring_bytes / 2 {
                return Err(SpecError::RecorderBytes { bytes, ring: self.ring_bytes });
            }
        }
        if let (None, Some(on)) = (self.recorder, self.freeze_on) {
            return Err(SpecError::NoRecorder(on));
        }
        if [self.limit_bytes, self.limit_packets, self.limit_seconds.map(Seconds::get)].contains(&Some(0)) {
            return Err(SpecError::ZeroLimit);
        }
        Ok(())
    }
}

impl Default for CaptureSpec {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            filter: None,
            toward: Vec::new(),
            snaplen: Self::MAX_SNAPLEN,
            rotate_bytes: 64 * 1024 * 1024,
            rotate_seconds: Seconds::new(300),
            ring_bytes: 1024 * 1024 * 1024,
            limit_bytes: None,
            limit_packets: None,
            limit_seconds: None,
            content: Content::Headers,
            include_own: false,
            recorder: None,
            freeze_on: None,
            bundle: false,
        }
    }
}

/// A [`CaptureSpec`] with a number that no capture can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Out of range.
    #[error("snaplen {0} is not between 1 and {max}", max = CaptureSpec::MAX_SNAPLEN)]
    Snaplen(u32),
    /// Too many.
    #[error("{0} addresses of pods are more than {most}", most = CaptureSpec::MOST_TOWARD)]
    Toward(usize),
    /// Too small.
    #[error("rotation at {0} bytes is below {min} bytes", min = CaptureSpec::MIN_FILE)]
    RotateBytes(u64),
    /// Zero.
    #[error("rotation after 0 seconds")]
    RotateSeconds,
    /// The ring holds less than one file.
    #[error("a ring of {ring} bytes does not hold one file of {file} bytes")]
    Ring {
        /// Ring size in bytes.
        ring: u64,
        /// Rotation size in bytes.
        file: u64,
    },
    /// The recorder keeps no time.
    #[error("a flight recorder of 0 seconds keeps nothing")]
    RecorderSeconds,
    /// The recorder keeps next to nothing, or leaves no room for what is frozen.
    #[error("a flight recorder of {bytes} bytes: between {min} bytes and half of the ring's {ring} bytes will do", min = CaptureSpec::MIN_FILE)]
    RecorderBytes {
        /// What was asked.
        bytes: u64,
        /// Ring size in bytes.
        ring: u64,
    },
    /// There is nothing that could freeze.
    #[error("nothing is kept that could be saved on {0}: only a flight recorder freezes")]
    NoRecorder(FreezeOn),
    /// A limit of zero.
    #[error("a limit of 0 ends the capture before it begins")]
    ZeroLimit,
}

/// What the agent's capture is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureState {
    /// None has run yet.
    Idle,
    /// Packets are being written.
    Running {
        /// When it began.
        since: UnixMillis,
        /// The interfaces it reads.
        interfaces: Vec<String>,
        /// What was asked.
        spec: CaptureSpec,
    },
    /// The last one has ended and its files are closed.
    Stopped {
        /// When it began.
        since: UnixMillis,
        /// When it ended.
        at: UnixMillis,
        /// Why it ended.
        reason: StopReason,
    },
}

/// Why a capture ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Somebody asked.
    Asked,
    /// The spec's byte limit.
    ByteLimit,
    /// The spec's packet limit.
    PacketLimit,
    /// The spec's time limit.
    TimeLimit,
    /// The agent is ending.
    AgentEnds,
    /// The disk or the kernel failed; files up to there are whole.
    Failed {
        /// What failed.
        message: String,
    },
}

/// Packets that are not in the capture files, by where they went missing. Never summed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The kernel's packet ring was full.
    pub kernel: u64,
    /// The interface or its driver dropped them on receive.
    pub interface: u64,
    /// Our own queue to the disk was full.
    pub queue: u64,
}

/// Upper bounds (inclusive, in bytes on the wire) of the size histogram's buckets; one more bucket takes the rest.
pub const SIZE_BUCKETS: [u32; 6] = [64, 128, 256, 512, 1024, 1518];

/// What a capture has counted. Totals since its beginning, and the last second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// When it was counted.
    pub at: UnixMillis,
    /// Milliseconds since the capture began.
    pub elapsed: u64,
    /// Packets since the beginning.
    pub packets: u64,
    /// Bytes on the wire since the beginning.
    pub bytes: u64,
    /// The time since the statistics before these.
    pub window: Window,
    /// Drops since the beginning.
    pub dropped: Dropped,
    /// The same by interface, kernel and interface drops only.
    pub interfaces: Vec<InterfaceDrops>,
    /// Protocol mix since the beginning, most bytes first.
    pub mix: Vec<Mix>,
    /// Packets by size on the wire, as [`SIZE_BUCKETS`] cuts them.
    pub sizes: [u64; SIZE_BUCKETS.len() + 1],
    /// The flows with the most bytes, most first.
    pub flows: Vec<Flow>,
    /// Flows known.
    pub flows_tracked: u64,
    /// Packets of flows that the bounded table had no room for.
    pub flows_overflow: Share,
    /// This product's own packets, which are in no other count and in no file.
    #[serde(default)]
    pub left_out: Share,
}

/// Counts over the time since the last statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its length in milliseconds.
    pub millis: u64,
    /// Packets in it.
    pub packets: u64,
    /// Bytes on the wire in it.
    pub bytes: u64,
}

/// One interface's part of a capture's drops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceDrops {
    /// Its name.
    pub name: String,
    /// Packets taken from it.
    pub packets: u64,
    /// Dropped by the kernel's packet ring.
    pub kernel: u64,
    /// Lost by the interface before any capture could see them.
    pub interface: u64,
    /// For how long nothing was captured from it since the capture began, because it was down or not there.
    #[serde(default)]
    pub gap_millis: u64,
    /// How it is.
    #[serde(default)]
    pub state: InterfaceState,
}

/// How an interface of a capture is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterfaceState {
    /// Its packets are captured.
    #[default]
    Reading,
    /// It is down; it is captured again when it is up.
    Down,
    /// There is none of that name; it is captured again when there is.
    Gone,
    /// It is there and cannot be read.
    LeftOut,
}

/// A count of packets and their bytes on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Packets.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// One protocol's part of the traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix {
    /// `TCP`, `UDP`, `ICMP`, `ICMPv6`, `ARP`, `IPv4 other`, `IPv6 other` or `other`.
    pub protocol: String,
    /// Its packets and bytes.
    pub share: Share,
}

/// The transport of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Another IP protocol, by number; its endpoints have port 0.
    Ip(u8),
}

/// One end of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// Its port; 0 where the protocol has none.
    pub port: u16,
}

/// Packets between two endpoints, both directions together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// TCP, UDP or another.
    pub transport: Transport,
    /// The source of the first packet seen.
    pub from: Endpoint,
    /// The destination of the first packet seen.
    pub to: Endpoint,
    /// Packets and bytes, both ways.
    pub share: Share,
    /// The tunnel that it came in, the outermost of several; the ends are those inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
}

/// A way to carry packets inside packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tunnel {
    /// VXLAN.
    Vxlan,
    /// Geneve.
    Geneve,
    /// GRE, and what is mirrored in it.
    Gre,
    /// IPv4 in IP.
    Ipip,
    /// IPv6 in IP.
    SixInFour,
    /// Ethernet in IP.
    EtherIp,
    /// MPLS.
    Mpls,
    /// A PPPoE session.
    Pppoe,
}

impl Tunnel {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 8] =
        [Self::Vxlan, Self::Geneve, Self::Gre, Self::Ipip, Self::SixInFour, Self::EtherIp, Self::Mpls, Self::Pppoe];

    /// The name that people read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "VXLAN",
            Self::Geneve => "Geneve",
            Self::Gre => "GRE",
            Self::Ipip => "IPIP",
            Self::SixInFour => "6in4",
            Self::EtherIp => "EtherIP",
            Self::Mpls => "MPLS",
            Self::Pppoe => "PPPoE",
        }
    }
}
