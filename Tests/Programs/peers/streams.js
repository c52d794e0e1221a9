// The streams of streams_asyncio.py in node: serve, or ask with 8 connections and compare the answers.
// Usage: node streams.js serve PORT | node streams.js ask PORT SEED
'use strict';
const crypto = require('crypto');
const net = require('net');

const [what, port, seed] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4] || 0)];

function frame(data) {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(data.length);
  return Buffer.concat([size, data, crypto.createHash('sha256').update(data).digest()]);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

// Calls onFrame(data) for each whole frame, and onEnd() for the frame of length 0.
function framesOf(socket, onFrame, onEnd) {
  let parts = [];
  let held = 0;
  socket.on('data', (part) => {
    parts.push(part);
    held += part.length;
    for (;;) {
      if (held < 4) return;
      if (parts[0].length < 4) parts = [Buffer.concat(parts)];
      const size = parts[0].readUInt32BE(0);
      if (size === 0) return onEnd();
      if (held < size + 36) return;
      const all = parts.length === 1 ? parts[0] : Buffer.concat(parts);
      const data = all.subarray(4, size + 4);
      const sum = crypto.createHash('sha256').update(data).digest();
      if (!sum.equals(all.subarray(size + 4, size + 36))) fail('a checksum is wrong');
      parts = [all.subarray(size + 36)];
      held = parts[0].length;
      onFrame(data);
    }
  });
}

function serve() {
  net.createServer({allowHalfOpen: true}, (socket) => {
    framesOf(socket, (data) => socket.write(frame(Buffer.from(data).reverse())), () => socket.end());
  }).listen(port, '127.0.0.1');
}

function askOne(number, done) {
  const sizes = [1, 10, 100, 1000, 10000, 100000, 1000000];
  let state = (seed * 1000003 + number) >>> 0;
  const next = () => (state = (state * 1664525 + 1013904223) >>> 0) / 4294967296;
  const socket = net.connect({port, host: '127.0.0.1', allowHalfOpen: true});
  let left = 40;
  let expected;
  const send = () => {
    const data = crypto.randomBytes(sizes[Math.floor(next() * sizes.length)]);
    expected = Buffer.from(data).reverse();
    socket.write(frame(data));
  };
  framesOf(socket, (data) => {
    if (!data.equals(expected)) fail('an answer differs');
    if (--left > 0) return send();
    socket.end(Buffer.alloc(4));
  }, () => fail('the server sent an empty frame'));
  socket.on('connect', send);
  socket.on('error', (problem) => fail(String(problem)));
  socket.on('end', () => (left === 0 ? done() : fail('the stream ended early')));
}

if (what === 'serve') {
  serve();
} else {
  let running = 8;
  for (let number = 0; number < 8; number++) {
    askOne(number, () => {
      if (--running === 0) {
        console.log('320 answers compared');
        process.exit(0);
      }
    });
  }
}
