//! std::net with a thread for each connection, as an echo server and as the client that compares (echo.py says what it sends).
//! Usage: echo serve|ask PORT
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

const BLOCK: usize = 65521;

fn serve(port: u16) -> std::io::Result<()> {
    for connection in TcpListener::bind(("127.0.0.1", port))?.incoming() {
        let mut connection = connection?;
        thread::spawn(move || {
            let mut reader = connection.try_clone().unwrap();
            std::io::copy(&mut reader, &mut connection).unwrap();
        });
    }
    Ok(())
}

fn expect(connection: &mut TcpStream, wanted: &[u8]) {
    let mut got = vec![0; wanted.len()];
    connection.read_exact(&mut got).expect("the stream ended early");
    assert!(got == wanted, "other bytes came back than were sent");
}

fn ask_one(port: u16, number: usize) {
    let mut state = number as u32 + 1;
    let block: Vec<u8> = (0..BLOCK)
        .map(|_| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 24) as u8
        })
        .collect();
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.set_nodelay(true).unwrap();
    for round in 0..1000 {
        let message = &block[..1 + round * 37 % 9000];
        connection.write_all(message).unwrap();
        expect(&mut connection, message);
    }
    let bulk: Vec<u8> = block.iter().cycle().take(1_000_000).copied().collect();
    let mut writer = connection.try_clone().unwrap();
    let copy = bulk.clone();
    let sender = thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    expect(&mut connection, &bulk);
    sender.join().unwrap();
    assert_eq!(connection.read(&mut [0]).unwrap(), 0, "bytes after the end");
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let port: u16 = arguments[2].parse().unwrap();
    if arguments[1] == "serve" {
        return serve(port).unwrap();
    }
    let threads: Vec<_> = (0..4).map(|number| thread::spawn(move || ask_one(port, number))).collect();
    for thread in threads {
        thread.join().expect("a connection failed");
    }
    println!("compared 4 connections");
}
