// Asio (the standalone library) as an echo server and as the client that compares (echo.py says what it sends); threads
// share one context. Usage: echo_asio serve|ask PORT
#include <array>
#include <asio.hpp>
#include <cstdio>
#include <memory>
#include <random>
#include <thread>
#include <vector>

using asio::ip::tcp;

constexpr std::size_t blockSize = 65521, bulk = 1000000;
constexpr int connections = 4, rounds = 1000;

static std::vector<char> block(blockSize);

static void fail(const std::string &message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::_Exit(1);
}

struct Session : std::enable_shared_from_this<Session> {
  explicit Session(tcp::socket socket) : socket(std::move(socket)) {}

  void read() {
    socket.async_read_some(asio::buffer(held), [self = shared_from_this()](std::error_code error, std::size_t size) {
      if (error == asio::error::eof) return;
      if (error) fail("read: " + error.message());
      asio::async_write(self->socket, asio::buffer(self->held, size), [self](std::error_code problem, std::size_t) {
        if (problem) fail("write: " + problem.message());
        self->read();
      });
    });
  }

  tcp::socket socket;
  std::array<char, 20000> held;
};

static void accept(tcp::acceptor &acceptor) {
  acceptor.async_accept([&acceptor](std::error_code error, tcp::socket socket) {
    if (error) fail("accept: " + error.message());
    std::make_shared<Session>(std::move(socket))->read();
    accept(acceptor);
  });
}

struct Client : std::enable_shared_from_this<Client> {
  explicit Client(asio::io_context &context) : socket(context) {}

  void say(std::size_t size) {
    message.resize(size);
    answer.resize(size);
    for (std::size_t i = 0; i < size; i++) message[i] = block[i % blockSize];
    asio::async_write(socket, asio::buffer(message), [self = shared_from_this()](std::error_code error, std::size_t) {
      if (error) fail("write: " + error.message());
    });
    asio::async_read(socket, asio::buffer(answer), [self = shared_from_this()](std::error_code error, std::size_t) {
      if (error) fail("read: " + error.message());
      if (self->message != self->answer) fail("other bytes came back than were sent");
      if (++self->round < rounds) return self->say(1 + std::size_t(self->round) * 37 % 9000);
      if (self->round == rounds) return self->say(bulk);
      self->socket.shutdown(tcp::socket::shutdown_send);
      self->socket.async_read_some(asio::buffer(self->answer), [self](std::error_code end, std::size_t) {
        if (end != asio::error::eof) fail("no end came");
      });
    });
  }

  tcp::socket socket;
  int round = 0;
  std::vector<char> message, answer;
};

int main(int, char **arguments) {
  asio::io_context context;
  tcp::endpoint endpoint(asio::ip::address_v4::loopback(), static_cast<unsigned short>(std::stoi(arguments[2])));
  std::unique_ptr<tcp::acceptor> acceptor;
  std::generate(block.begin(), block.end(), std::mt19937(std::random_device{}()));
  if (arguments[1][0] == 's') {
    acceptor = std::make_unique<tcp::acceptor>(context, endpoint);
    accept(*acceptor);
  } else {
    for (int i = 0; i < connections; i++) {
      auto client = std::make_shared<Client>(context);
      client->socket.async_connect(endpoint, [client](std::error_code error) {
        if (error) fail("connect: " + error.message());
        client->say(1);
      });
    }
  }
  std::thread second([&] { context.run(); });
  context.run();
  second.join();
  std::printf("compared %d connections\n", connections);
}
