// Go's net package as an echo server and as the client that compares (echo.py says what it sends).
// Usage: echo serve|ask PORT
package main

import (
  "bytes"
  "crypto/rand"
  "fmt"
  "io"
  "net"
  "os"
)

func check(problem error) {
  if problem != nil {
    fmt.Fprintln(os.Stderr, problem)
    os.Exit(1)
  }
}

func expect(connection net.Conn, wanted []byte) {
  got := make([]byte, len(wanted))
  _, problem := io.ReadFull(connection, got)
  check(problem)
  if !bytes.Equal(got, wanted) {
    check(fmt.Errorf("other bytes came back than were sent"))
  }
}

func ask(address string, done chan bool) {
  block := make([]byte, 65521)
  _, problem := rand.Read(block)
  check(problem)
  connection, problem := net.Dial("tcp", address)
  check(problem)
  for round := 0; round < 1000; round++ {
    message := block[:1+round*37%9000]
    _, problem = connection.Write(message)
    check(problem)
    expect(connection, message)
  }
  bulk := bytes.Repeat(block, 16)[:1000000]
  go func() {
    _, problem := connection.Write(bulk)
    check(problem)
    check(connection.(*net.TCPConn).CloseWrite())
  }()
  expect(connection, bulk)
  if size, _ := connection.Read(make([]byte, 1)); size != 0 {
    check(fmt.Errorf("bytes after the end"))
  }
  done <- true
}

func main() {
  announce()
  address := "127.0.0.1:" + os.Args[2]
  if os.Args[1] == "serve" {
    listener, problem := net.Listen("tcp", address)
    check(problem)
    for {
      connection, problem := listener.Accept()
      check(problem)
      go func() {
        io.Copy(connection, connection)
        connection.Close()
      }()
    }
  }
  done := make(chan bool)
  for i := 0; i < 4; i++ {
    go ask(address, done)
  }
  for i := 0; i < 4; i++ {
    <-done
  }
  fmt.Println("compared 4 connections")
}
