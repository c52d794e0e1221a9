// The streams of streams_asyncio.py in Java: a server with one thread per connection, a server with a selector, and a
// client with 6 threads that compares the answers.
// Usage: java Streams.java serve-threads|serve-selector|ask PORT [SEED]

import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.Random;

public class Streams {
  static byte[] digest(byte[] data) throws Exception {
    return MessageDigest.getInstance("SHA-256").digest(data);
  }

  static byte[] frame(byte[] data) throws Exception {
    return ByteBuffer.allocate(data.length + 36).putInt(data.length).put(data).put(digest(data)).array();
  }

  static byte[] reversed(byte[] data) {
    byte[] other = new byte[data.length];
    for (int i = 0; i < data.length; i++) other[i] = data[data.length - 1 - i];
    return other;
  }

  static byte[] readFrame(DataInputStream in) throws Exception {
    int size = in.readInt();
    if (size == 0) return null;
    byte[] data = in.readNBytes(size);
    byte[] sum = in.readNBytes(32);
    if (data.length != size || !Arrays.equals(sum, digest(data))) throw new IOException("a checksum is wrong");
    return data;
  }

  static void fail(Throwable problem) {
    problem.printStackTrace();
    System.exit(1);
  }

  static void serveThreads(int port) throws Exception {
    try (ServerSocket listener = new ServerSocket(port, 50, InetAddress.getByName("127.0.0.1"))) {
      while (true) {
        Socket socket = listener.accept();
        new Thread(() -> {
          try (socket) {
            DataInputStream in = new DataInputStream(socket.getInputStream());
            byte[] data;
            while ((data = readFrame(in)) != null) socket.getOutputStream().write(frame(reversed(data)));
          } catch (Exception problem) {
            problem.printStackTrace();  // A probe of the port ends early: only the client's view counts.
          }
        }).start();
      }
    }
  }

  static class Conversation {
    final ByteArrayOutputStream incoming = new ByteArrayOutputStream();
    ByteBuffer outgoing = ByteBuffer.allocate(0);
    boolean ended;

    void take(ByteBuffer part) throws Exception {
      incoming.write(part.array(), 0, part.position());
      ByteBuffer all = ByteBuffer.wrap(incoming.toByteArray());
      ByteArrayOutputStream answers = new ByteArrayOutputStream();
      while (all.remaining() >= 4) {
        int size = all.getInt(all.position());
        if (size == 0) {
          ended = true;
          break;
        }
        if (all.remaining() < size + 36) break;
        all.getInt();
        byte[] data = new byte[size];
        byte[] sum = new byte[32];
        all.get(data).get(sum);
        if (!Arrays.equals(sum, digest(data))) throw new IOException("a checksum is wrong");
        answers.write(frame(reversed(data)));
      }
      incoming.reset();
      incoming.write(all.array(), all.position(), all.remaining());
      ByteBuffer joined = ByteBuffer.allocate(outgoing.remaining() + answers.size());
      outgoing = joined.put(outgoing).put(answers.toByteArray()).flip();
    }
  }

  static void serve(SelectionKey key, ByteBuffer buffer) throws Exception {
    SocketChannel channel = (SocketChannel) key.channel();
    Conversation conversation = (Conversation) key.attachment();
    if (key.isReadable()) {
      buffer.clear();
      if (channel.read(buffer) < 0) conversation.ended = true;
      conversation.take(buffer);
    }
    if (conversation.outgoing.hasRemaining()) channel.write(conversation.outgoing);
    if (conversation.outgoing.hasRemaining()) {
      key.interestOps((conversation.ended ? 0 : SelectionKey.OP_READ) | SelectionKey.OP_WRITE);
    } else if (conversation.ended) {
      channel.close();
    } else {
      key.interestOps(SelectionKey.OP_READ);
    }
  }

  static void serveSelector(int port) throws Exception {
    Selector selector = Selector.open();
    ServerSocketChannel listener = ServerSocketChannel.open().bind(new InetSocketAddress("127.0.0.1", port));
    listener.configureBlocking(false);
    listener.register(selector, SelectionKey.OP_ACCEPT);
    ByteBuffer buffer = ByteBuffer.allocate(1 << 16);
    while (true) {
      selector.select();
      Iterator<SelectionKey> keys = selector.selectedKeys().iterator();
      while (keys.hasNext()) {
        SelectionKey key = keys.next();
        keys.remove();
        if (key.isAcceptable()) {
          SocketChannel channel = listener.accept();
          channel.configureBlocking(false);
          channel.register(selector, SelectionKey.OP_READ, new Conversation());
        } else {
          serve(key, buffer);
        }
      }
    }
  }

  static void askOne(int port, long seed) throws Exception {
    Random source = new Random(seed);
    int[] sizes = {1, 10, 100, 1000, 10000, 100000, 1000000};
    try (Socket socket = new Socket("127.0.0.1", port)) {
      DataInputStream in = new DataInputStream(socket.getInputStream());
      for (int round = 0; round < 40; round++) {
        byte[] data = new byte[sizes[source.nextInt(sizes.length)]];
        source.nextBytes(data);
        byte[] message = frame(data);
        Thread sender = new Thread(() -> {
          try {
            socket.getOutputStream().write(message);
          } catch (IOException problem) {
            fail(problem);
          }
        });
        sender.start();
        if (!Arrays.equals(readFrame(in), reversed(data))) throw new IOException("an answer differs");
        sender.join();
      }
      socket.getOutputStream().write(new byte[4]);
      if (in.read() != -1) throw new IOException("bytes after the end");
    }
  }

  static void ask(int port, long seed) throws Exception {
    ArrayList<Thread> threads = new ArrayList<>();
    for (int number = 0; number < 6; number++) {
      long own = seed + number;
      Thread thread = new Thread(() -> {
        try {
          askOne(port, own);
        } catch (Throwable problem) {
          fail(problem);
        }
      });
      thread.start();
      threads.add(thread);
    }
    for (Thread thread : threads) thread.join();
    System.out.println("240 answers compared");
  }

  public static void main(String[] arguments) throws Exception {
    int port = Integer.parseInt(arguments[1]);
    switch (arguments[0]) {
      case "serve-threads" -> serveThreads(port);
      case "serve-selector" -> serveSelector(port);
      default -> ask(port, Long.parseLong(arguments[2]));
    }
  }
}
