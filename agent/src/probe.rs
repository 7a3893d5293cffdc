//! Trying a port from this node: TCP is connected to, UDP is sent to and waited for.
//!
//! Owns what counts as reached. A probe carries no payload but for a DNS query on port 53.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
    sockopt::{Ipv4RecvErr, Ipv6RecvErr},
};
use nodewatch_protocol::{PortProtocol, Probe, ProbeOutcome, Probed};
use tokio::{
    net::{TcpSocket, UdpSocket},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// A probe has so long; a first SYN that is lost is sent again after a second.
const WITHIN: Duration = Duration::from_millis(2500);
/// A query for the root's name servers, recursion desired. RFC 1035, section 4.
const DNS_QUERY: [u8; 17] = [0x6e, 0x77, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
const DNS: u16 = 53;

/// Tries it, as often as it is asked for: the next try begins in time whether or not the one before has an answer.
pub async fn probe(probe: Probe) -> Probed {
    let tries = probe.tries.clamp(1, Probe::MOST);
    let begun = Instant::now();
    let every = Duration::from_millis(Probe::EVERY);
    let mut under_way = JoinSet::new();
    for at in 0..tries {
        under_way.spawn(async move {
            sleep_until(begun + every * u32::from(at)).await;
            once(probe).await
        });
    }
    Probed::of(probe, under_way.join_all().await)
}

async fn once(probe: Probe) -> (ProbeOutcome, u64) {
    let begun = Instant::now();
    let tried = match probe.protocol {
        PortProtocol::Tcp => timeout(WITHIN, tcp(probe.to)).await,
        PortProtocol::Udp => timeout(WITHIN, udp(probe.to)).await,
        PortProtocol::UdpLite | PortProtocol::Sctp | PortProtocol::Dccp => {
            Ok(Err(io::Error::new(io::ErrorKind::Unsupported, "only TCP and UDP can be probed").into()))
        }
    };
    let outcome = match tried {
        Err(_) => ProbeOutcome::Silent,
        Ok(Ok(())) => ProbeOutcome::Reached,
        Ok(Err(refused)) => refused.outcome(probe.to.ip()),
    };
    (outcome, begun.elapsed().as_micros() as u64)
}

/// A probe's error, and the ICMP message that it came of, where it did.
struct Refused {
    error: io::Error,
    said: Option<Said>,
}

/// What a router, a firewall or the other side has said.
struct Said {
    by: IpAddr,
    /// An ICMP message's type and code.
    what: (u8, u8),
}

impl From<io::Error> for Refused {
    /// Before anything was sent.
    fn from(error: io::Error) -> Self {
        Self { error, said: None }
    }
}

impl Refused {
    fn outcome(self, to: IpAddr) -> ProbeOutcome {
        use io::ErrorKind;
        let kind = self.error.kind();
        match self.said {
            // A firewall on the way may say what only the other side can know.
            Some(said) if said.by != to || kind != ErrorKind::ConnectionRefused => {
                let reason = said.words().map_or_else(|| plain(&self.error), str::to_owned);
                ProbeOutcome::Unreachable { by: Some(said.by), reason }
            }
            _ => match kind {
                ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => ProbeOutcome::Refused,
                ErrorKind::TimedOut => ProbeOutcome::Silent,
                // Nobody on this node's own network has that address.
                ErrorKind::HostUnreachable => ProbeOutcome::Unreachable { by: None, reason: plain(&self.error) },
                _ => ProbeOutcome::Failed { reason: plain(&self.error) },
            },
        }
    }
}

impl Said {
    fn words(&self) -> Option<&'static str> {
        // RFC 792, 1812 and 4443.
        match (self.by.is_ipv4(), self.what) {
            (true, (3, 9 | 10 | 13)) | (false, (1, 1 | 5 | 6)) => Some("prohibited by a firewall"),
            (true, (3, 0)) | (false, (1, 0)) => Some("no route to its network"),
            (true, (3, 1)) | (false, (1, 3)) => Some("no answer from its host"),
            (true, (3, 3)) | (false, (1, 4)) => Some("port unreachable"),
            _ => None,
        }
    }
}

/// The kernel's words, without its number.
fn plain(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| nix::Error::from_raw(number).desc().to_owned())
}

async fn tcp(to: SocketAddr) -> Result<(), Refused> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let kept = wants_to_know(&socket, to)?;
    socket.connect(to).await.map(drop).map_err(|error| Refused { said: said(&kept), error })
}

/// Something must come back: an answer, or the word that nothing is there.
async fn udp(to: SocketAddr) -> Result<(), Refused> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    let kept = wants_to_know(&socket, to)?;
    socket.connect(to).await?;
    let query: &[u8] = if to.port() == DNS { &DNS_QUERY } else { &[] };
    let told = |error| Refused { said: said(&kept), error };
    socket.send(query).await.map_err(told)?;
    socket.recv(&mut [0; 512]).await.map(drop).map_err(told)
}

/// Has the kernel keep what ICMP says to that socket. The copy outlives a connection that fails.
fn wants_to_know(socket: &impl AsFd, to: SocketAddr) -> io::Result<OwnedFd> {
    // Without it only the error's number is known.
    let _ = if to.is_ipv4() { setsockopt(socket, Ipv4RecvErr, &true) } else { setsockopt(socket, Ipv6RecvErr, &true) };
    socket.as_fd().try_clone_to_owned()
}

/// The ICMP message that the kernel has kept, if it has one.
fn said(socket: &OwnedFd) -> Option<Said> {
    let mut room = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let mut ours = [0; 64];
    let mut parts = [IoSliceMut::new(&mut ours)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut room), flags).ok()?;
    message.cmsgs().ok()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4RecvErr(error, Some(by)) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP => {
            let by = Ipv4Addr::from_bits(u32::from_be(by.sin_addr.s_addr));
            Some(Said { by: by.into(), what: (error.ee_type, error.ee_code) })
        }
        ControlMessageOwned::Ipv6RecvErr(error, Some(by)) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP6 => {
            let by = Ipv6Addr::from(by.sin6_addr.s6_addr);
            Some(Said { by: by.into(), what: (error.ee_type, error.ee_code) })
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn outcome(protocol: PortProtocol, to: SocketAddr) -> ProbeOutcome {
        probe(Probe { protocol, to, tries: 1 }).await.outcome
    }

    #[tokio::test]
    async fn a_listener_is_reached_and_a_closed_port_refuses() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let to = listener.local_addr().expect("an address");
        assert_eq!(outcome(PortProtocol::Tcp, to).await, ProbeOutcome::Reached);
        drop(listener);
        assert_eq!(outcome(PortProtocol::Tcp, to).await, ProbeOutcome::Refused);
    }

    #[tokio::test]
    async fn of_several_tries_each_counts() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let to = listener.local_addr().expect("an address");
        // It closes after the first, as one that is started again and again does.
        tokio::spawn(async move { drop(listener.accept().await) });
        let probed = probe(Probe { protocol: PortProtocol::Tcp, to, tries: 3 }).await;
        assert_eq!((probed.reached, probed.outcome), (1, ProbeOutcome::Refused));
        assert_eq!(probed.failures, [(ProbeOutcome::Refused, 2)]);
    }

    #[tokio::test]
    async fn udp_is_reached_by_an_answer_only() {
        let server = UdpSocket::bind("[::1]:0").await.expect("bind");
        let to = server.local_addr().expect("an address");
        let answering = tokio::spawn(async move {
            let (_, from) = server.recv_from(&mut [0; 64]).await.expect("a packet");
            server.send_to(b"x", from).await.expect("sent");
            server
        });
        assert_eq!(outcome(PortProtocol::Udp, to).await, ProbeOutcome::Reached);
        let silent = answering.await.expect("no panic");
        assert_eq!(outcome(PortProtocol::Udp, to).await, ProbeOutcome::Silent);
        drop(silent);
        assert_eq!(outcome(PortProtocol::Udp, to).await, ProbeOutcome::Refused);
    }
}
