//! A packet between the kernel and the file.

/// One packet as the kernel hands it over.
#[derive(Debug, Clone, Copy)]
pub struct RawPacket<'a> {
    /// Nanoseconds since the Unix epoch.
    pub nanos: u64,
    /// Its length on the wire.
    pub wire_length: u32,
    /// Its captured bytes.
    pub data: &'a [u8],
    /// The VLAN tag (TPID, TCI) that the kernel took out of it.
    pub vlan: Option<(u16, u16)>,
    /// Sent by this host, as seen on its way out.
    pub outgoing: bool,
}
