use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn free(count: usize) -> Vec<String> {
    // All at once, so that none is given twice.
    let bound: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    bound.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
}

/// What each of these processes does, as threads.
fn each<T: Send>(addresses: &[String], work: impl Fn(TcpExchange) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let start = |rank| {
            let work = &work;
            scope.spawn(move || work(TcpExchange::connect(rank, addresses, PATIENCE).unwrap()))
        };
        // The last is the first to come.
        let threads: Vec<_> = (0..addresses.len()).rev().map(start).collect();
        threads.into_iter().rev().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn tcp_letters_arrive_whatever_their_sizes() {
    for ranks in [1, 2, 5] {
        let letter = |from: usize, to: usize, round: usize| {
            let len = [0, 7, 40_000, 900_000][(from + 2 * to + round) % 4];
            (0..len).map(|i| (i * 31 + from * 7 + to) as u8).collect::<Vec<u8>>()
        };
        each(&free(ranks), |exchange| {
            let rank = exchange.rank();
            let mut from = vec![vec![9]; ranks];
            for round in 0..4 {
                let to: Vec<Vec<u8>> = (0..ranks).map(|to| letter(rank, to, round)).collect();
                exchange.swap(&to, &mut from).unwrap();
                for (other, from) in from.iter().enumerate() {
                    assert!(*from == letter(other, rank, round), "{other} to {rank}, round {round}");
                }
            }
        });
    }
}

#[test]
fn tcp_process_that_ends_is_named() {
    let said = each(&free(3), |exchange| {
        let mut from = vec![Vec::new(); 3];
        exchange.swap(&vec![vec![1]; 3], &mut from).unwrap();
        match exchange.rank() {
            1 => String::new(),
            _ => {
                let large = vec![vec![0; 1 << 20]; 3];
                (0..3).find_map(|_| exchange.swap(&large, &mut from).err()).unwrap().to_string()
            }
        }
    });
    // One of the others may see first that the other has given up.
    assert!(
        said[0].contains("process 1: it has ended") || said[2].contains("process 1: it has ended"),
        "{said:?}"
    );
}

#[test]
fn tcp_waits_no_longer_than_its_patience() {
    let addresses = free(2);
    let start = Instant::now();
    let error = TcpExchange::connect(0, &addresses, Duration::from_millis(200)).unwrap_err().to_string();
    assert!(error.contains("process 1 did not come within 200ms"), "{error}");
    let error = TcpExchange::connect(1, &addresses, Duration::from_millis(200)).unwrap_err().to_string();
    assert!(error.starts_with(&addresses[0]), "{error}");
    assert!(start.elapsed() < PATIENCE);
    let error = TcpExchange::connect(2, &addresses, PATIENCE).unwrap_err().to_string();
    assert_eq!(error, "process 2: expected one of 2, counted from 0");
}

#[test]
fn tcp_passes_over_strangers() {
    let addresses = free(2);
    let first = addresses[0].clone();
    thread::scope(|scope| {
        let all = &addresses;
        let one = scope.spawn(move || TcpExchange::connect(0, all, PATIENCE).unwrap());
        let come = || loop {
            match std::net::TcpStream::connect(&first) {
                Ok(stream) => break stream,
                Err(_) => thread::yield_now(),
            }
        };
        // One says nothing, and one something else.
        let (_silent, mut stranger) = (come(), come());
        io::Write::write_all(
            &mut stranger,
            b"GET / HTTP/1.1\r\nHost: example\r\nAccept: text/html, and so on\r\n\r\n",
        )
        .unwrap();
        let other = TcpExchange::connect(1, all, PATIENCE).unwrap();
        let ends =
            scope.spawn(move || other.swap(&[vec![1], vec![2]], &mut [Vec::new(), Vec::new()]).unwrap());
        let mut from = vec![Vec::new(); 2];
        one.join().unwrap().swap(&[vec![3], vec![4]], &mut from).unwrap();
        ends.join().unwrap();
        assert_eq!(from, [vec![3], vec![1]]);
    });
}

#[test]
fn processes_that_train_something_else_are_told_apart() {
    let said = each(&free(2), |exchange| {
        let exchange: &dyn Exchange = &exchange;
        let digest = if exchange.rank() == 0 { 5 } else { 6 };
        exchange.agree(&[("options", 4)]).unwrap();
        assert!(exchange.any(exchange.rank() == 1).unwrap() && !exchange.any(false).unwrap());
        exchange.agree(&[("options", 4), ("data", digest)]).unwrap_err().to_string()
    });
    assert_eq!(said[0], "process 1 trains with another data: expected the same in all processes");
    assert_eq!(said[1], "process 0 trains with another data: expected the same in all processes");
}
