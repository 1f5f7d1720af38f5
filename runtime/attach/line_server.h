// A small server for questions with short answers: control and metrics sockets.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"

namespace dadi::attach {

// Listens on several sockets and answers in one thread, the one that runs it, without ever waiting for a client. A
// client that floods, stalls or vanishes harms only itself: it is sent away after a while, as is who comes when there
// are too many.
class LineServer {
 public:
  LineServer();
  ~LineServer();

  // Takes what has arrived from a client, and gives the answer once that is a whole question. `close`: the client is
  // sent away after it.
  struct Answer {
    std::string text;
    bool close = false;
  };
  using Handler = std::function<std::optional<Answer>(std::string& received)>;

  // Adds a listening, non-blocking socket.
  void listen(UniqueFd socket, Handler handler);

  // While it runs, `work` is done every `period`, or a little later.
  void every(std::chrono::milliseconds period, std::function<void()> work);

  // Answers until `wake` becomes readable or stop() is called (in a handler, whose answer is still sent). May be
  // called again.
  Result<void> run(int wake);
  void stop() { stopping_ = true; }

 private:
  struct Listener {
    UniqueFd socket;
    Handler handler;
  };
  struct Client;

  Result<bool> wait(int wake);
  void accept_from(const Listener& listener);
  static void receive(Client& client);
  static void send(Client& client);
  void send_away_the_slow();

  std::vector<Listener> listeners_;
  std::list<Client> clients_;
  std::chrono::milliseconds period_{};
  std::function<void()> work_;
  std::chrono::steady_clock::time_point next_work_;
  bool stopping_ = false;
};

// A handler for one JSON object a line: `answer` is given each line.
LineServer::Handler line_handler(std::function<std::string(std::string_view line)> answer);

// A handler for HTTP that answers every GET with the text that `page` gives.
LineServer::Handler http_handler(std::function<std::string()> page);

}  // namespace dadi::attach
