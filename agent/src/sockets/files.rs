//! The kernel's lists of sockets as files, for kernels that do not list them over netlink.
//!
//! Owns the form of `/proc/net/tcp` and its like. They tell neither the interface that a socket is bound to nor whether one
//! on `[::]` takes IPv4, as most do.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use super::{ScanError, Socket, Table};

/// The sockets of one table; `None` where the kernel has no such file.
pub(super) fn list(folder: &Path, table: Table) -> Result<Option<Vec<Socket>>, ScanError> {
    match fs::read_to_string(folder.join(table.name())) {
        Ok(text) => read(&text, table).map(Some).ok_or(ScanError::Malformed(table.name())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ScanError::File(table.name(), error)),
    }
}

/// How many sockets of a protocol there are here, by `/proc/net/protocols`; none where it does not say.
pub(super) fn count(folder: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(folder.join("protocols")).unwrap_or_default();
    let counts = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        // Name, size of one, how many; the last is negative where it is not known.
        words.next().filter(|word| *word == name).and_then(|_| words.nth(1)?.parse::<u64>().ok())
    });
    counts.sum()
}

/// `None` where a line has another form.
fn read(text: &str, table: Table) -> Option<Vec<Socket>> {
    let mut sockets = Vec::new();
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (address, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        if u8::from_str_radix(state, 16).ok()? == table.state() {
            sockets.push(Socket {
                inode: inode.parse().ok()?,
                port: table.port(local(address)?, None, false),
                queue: (0, 0),
            });
        }
    }
    Some(sockets)
}

/// `0100007F:0035`: words in the machine's order, and the port.
fn local(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (part, at) in bytes.chunks_mut(4).zip((0..32).step_by(8)) {
                part.copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::TABLES;

    fn table(name: &str) -> Table {
        TABLES.into_iter().find(|table| table.name() == name).expect("a table")
    }

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn line(address: &str, state: &str, inode: u32) -> String {
        format!(
            "   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 2 0\n"
        )
    }

    /// As a kernel with this byte order writes an address.
    fn words(address: IpAddr) -> String {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let word = |four: &[u8]| format!("{:08X}", u32::from_ne_bytes(four.try_into().expect("four")));
        bytes.chunks(4).map(word).collect()
    }

    #[test]
    fn listeners_are_read_and_connections_passed_over() {
        let address = words("127.0.0.1".parse().expect("an address"));
        let text =
            format!("{HEAD}{}{}", line(&format!("{address}:0035"), "0A", 7), line(&format!("{address}:0036"), "01", 8));
        let sockets = read(&text, table("tcp")).expect("the form");
        assert_eq!(sockets, [Socket { inode: 7, port: "tcp 127.0.0.1:53".parse().expect("a port"), queue: (0, 0) }]);
        let address = words("fe80::1".parse().expect("an address"));
        let text = format!("{HEAD}{}", line(&format!("{address}:0202"), "07", 9));
        let sockets = read(&text, table("udp6")).expect("the form");
        assert_eq!(sockets[0].port.to_string(), "udp6 [fe80::1]:514");
        for text in ["x\ny\n", "x\n 0: 0:0 0 0A", &format!("{HEAD}{}", line("0100007F:ZZ", "0A", 1))] {
            assert_eq!(read(text, table("tcp")), None, "{text}");
        }
    }

    #[test]
    fn the_files_say_what_netlink_says() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let bound = std::net::UdpSocket::bind("[::1]:0").expect("bind");
        let folder = Path::new("/proc/net");
        for (name, local) in
            [("tcp", listener.local_addr().expect("bound")), ("udp6", bound.local_addr().expect("bound"))]
        {
            let here = list(folder, table(name)).expect("read").expect("a file");
            let netlink = super::super::netlink::Netlink::default().list(table(name)).expect("a dump");
            let ours = |socket: &&Socket| socket.port.local == local;
            let what = |found: &[Socket]| found.iter().find(ours).map(|socket| (socket.inode, socket.port));
            assert_eq!(what(&here).expect("there"), what(&netlink).expect("there"));
        }
        assert!(list(Path::new("/nowhere"), table("tcp")).expect("no error").is_none());
        assert!(count(folder, "TCP") > 0);
        assert_eq!(count(folder, "what"), 0);
    }
}
