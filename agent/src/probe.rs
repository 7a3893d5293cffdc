//! Trying a port from this node: TCP is connected to, UDP is sent to and waited for.
//!
//! Owns what counts as reached. A probe carries no payload but for a DNS query on port 53.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use nodewatch_protocol::{PortProtocol, Probe, ProbeOutcome, Probed};
use tokio::{
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout},
};

/// A probe has so long; a first SYN that is lost is sent again after a second.
const WITHIN: Duration = Duration::from_millis(2500);
/// A query for the root's name servers, recursion desired. RFC 1035, section 4.
const DNS_QUERY: [u8; 17] = [0x6e, 0x77, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
const DNS: u16 = 53;

/// Tries it.
pub async fn probe(probe: Probe) -> Probed {
    let begun = Instant::now();
    let tried = match probe.protocol {
        PortProtocol::Tcp => timeout(WITHIN, tcp(probe.to)).await,
        PortProtocol::Udp => timeout(WITHIN, udp(probe.to)).await,
    };
    let outcome = match tried {
        Err(_) => ProbeOutcome::Silent,
        Ok(Ok(())) => ProbeOutcome::Reached,
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => ProbeOutcome::Refused,
            io::ErrorKind::TimedOut => ProbeOutcome::Silent,
            _ => ProbeOutcome::Failed { reason: error.to_string() },
        },
    };
    Probed { probe, outcome, micros: begun.elapsed().as_micros() as u64 }
}

async fn tcp(to: SocketAddr) -> io::Result<()> {
    TcpStream::connect(to).await.map(drop)
}

/// Something must come back: an answer, or the word that nothing is there.
async fn udp(to: SocketAddr) -> io::Result<()> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    let query: &[u8] = if to.port() == DNS { &DNS_QUERY } else { &[] };
    socket.send(query).await?;
    socket.recv(&mut [0; 512]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn outcome(protocol: PortProtocol, to: SocketAddr) -> ProbeOutcome {
        probe(Probe { protocol, to }).await.outcome
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
