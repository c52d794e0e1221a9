# Ruby's sockets: a server of threads, one of IO.select, and the client that compares (echo.py says what it sends).
# Usage: ruby echo.rb serve-threads|serve-select|ask PORT
require 'socket'

BLOCK = 65521

def serve_threads(port)
  server = TCPServer.new('127.0.0.1', port)
  loop do
    Thread.new(server.accept) do |connection|
      while (data = connection.readpartial(65536)) do connection.write(data) end
    rescue EOFError
      connection.close
    end
  end
end

# What cannot be written yet is kept, and its connection is not read meanwhile.
def serve_select(port)
  server = TCPServer.new('127.0.0.1', port)
  held = {}
  loop do
    waiting = held.reject { |_, data| data.empty? }.keys
    readers, writers = IO.select([server] + held.keys - waiting, waiting)
    readers.each do |one|
      next held[server.accept] = ''.b if one == server
      data = one.read_nonblock(65536, exception: false)
      next if data == :wait_readable
      data ? held[one] << data : (held.delete(one); one.close)
    end
    writers.each do |one|
      size = one.write_nonblock(held[one], exception: false)
      held[one] = held[one].byteslice(size..) unless size == :wait_writable
    end
  end
end

def expect(connection, wanted)
  raise 'other bytes came back than were sent' unless connection.read(wanted.bytesize) == wanted
end

def converse(port)
  block = Random.bytes(BLOCK)
  connection = TCPSocket.new('127.0.0.1', port)
  1000.times do |round|
    message = block[0, 1 + round * 37 % 9000]
    connection.write(message)
    expect(connection, message)
  end
  bulk = (block * 16)[0, 1_000_000]
  sender = Thread.new { connection.write(bulk); connection.close_write }
  expect(connection, bulk)
  sender.join
  raise 'bytes after the end' unless connection.read.empty?
  connection.close
end

Thread.abort_on_exception = true
port = Integer(ARGV[1])
case ARGV[0]
when 'serve-threads' then serve_threads(port)
when 'serve-select' then serve_select(port)
else
  4.times.map { Thread.new { converse(port) } }.each(&:join)
  puts 'compared 4 connections'
end
