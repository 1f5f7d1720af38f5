// dadi login REGISTRY, dadi logout REGISTRY
#include <poll.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "apps/dadi/commands.h"
#include "apps/dadi/registry_options.h"
#include "libconvert/oci/reference.h"
#include "libconvert/registry/repository.h"
#include "libformat/base/unique_fd.h"

namespace dadi {
namespace {

constexpr std::size_t kLongestSecret = 64 << 10;

struct LoginCommand {
  std::string registry;
  std::string user;
  bool password_stdin = false;
  RegistryOptions options;
};

// Does not show what is typed, for as long as it lives.
class HiddenInput {
 public:
  HiddenInput() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios hidden = before_;
    hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    changed_ = tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) == 0;
  }
  ~HiddenInput() {
    if (changed_) tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  }
  HiddenInput(const HiddenInput&) = delete;
  HiddenInput& operator=(const HiddenInput&) = delete;

 private:
  termios before_{};
  bool changed_ = false;
};

// Until there is something to read. A signal does not interrupt that: dadi takes them in a thread of its own.
Result<void> wait_for_input(const std::stop_token& stop) {
  const UniqueFd stopped(::eventfd(0, EFD_CLOEXEC));
  if (!stopped) return Error::from_errno(errno, "eventfd");
  const std::stop_callback wake(stop, [&] { ::eventfd_write(stopped.get(), 1); });
  std::array<pollfd, 2> fds = {{{STDIN_FILENO, POLLIN, 0}, {stopped.get(), POLLIN, 0}}};
  while (::poll(fds.data(), fds.size(), -1) < 0 && errno == EINTR) {
  }
  if (stop.stop_requested()) return Error::cancelled("stopped");
  return {};
}

// Up to the end of the line, or of the input.
Result<std::string> read_secret(bool whole, const std::stop_token& stop) {
  std::string text;
  for (char c = 0;;) {
    DADI_CHECK(wait_for_input(stop));
    const ssize_t n = ::read(STDIN_FILENO, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno(errno, "read the standard input");
    if (n == 0 || (c == '\n' && !whole)) break;
    text += c;
    if (text.size() > kLongestSecret) return Error::invalid_argument("more than a password on the standard input");
  }
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  return text;
}

void prompt(std::string_view text) {
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, text.data(), text.size());
}

Result<registry::Credential> ask(const LoginCommand& command, const std::stop_token& stop) {
  registry::Credential credential{.user = command.user, .password = {}, .identity_token = {}};
  const bool terminal = isatty(STDIN_FILENO) == 1;
  if (credential.user.empty()) {
    if (command.password_stdin || !terminal) return Error::invalid_argument("--username is missing");
    prompt("Username: ");
    DADI_TRY(credential.user, read_secret(false, stop));
  }
  if (command.password_stdin || !terminal) {
    DADI_TRY(credential.password, read_secret(true, stop));
  } else {
    prompt("Password: ");
    const HiddenInput hidden;
    auto password = read_secret(false, stop);
    prompt("\n");
    if (!password) return std::move(password).error();
    credential.password = std::move(*password);
  }
  if (credential.user.empty() || credential.user.find(':') != std::string::npos)
    return Error::invalid_argument("a user's name is not empty, and has no colon");
  if (credential.password.empty()) return Error::invalid_argument("an empty password");
  return credential;
}

struct Place {
  std::string host, repository;  // repository: empty for all of the registry
  std::string key() const { return repository.empty() ? host : host + "/" + repository; }
};

Result<Place> parse_place(std::string text) {
  if (text.starts_with("docker://")) text.erase(0, 9);
  while (text.ends_with('/')) text.pop_back();
  const std::size_t slash = text.find('/');
  // Understood as an image's name is, so that a name means the same place everywhere.
  const std::string name = slash == std::string::npos ? text + "/x/y" : text;
  DADI_TRY(const oci::Reference parsed, oci::parse_registry_name(name));
  if (slash == std::string::npos) {
    if (parsed.repository != "x/y") return Error::invalid_argument("\"{}\" is not a registry's name", text);
    return Place{parsed.host, {}};
  }
  if (parsed.digest || parsed.tag != "latest")
    return Error::invalid_argument("a tag: credentials are for repositories");
  return Place{parsed.host, parsed.repository};
}

Result<void> run_login(Session& session, const LoginCommand& command) {
  DADI_TRY(const Place place, parse_place(command.registry));
  const auto file = login_file(command.options);
  if (file.empty()) return Error::invalid_argument("no place for credentials: neither --authfile nor HOME is set");
  DADI_TRY(const registry::Credential credential, ask(command, session.stop()));
  registry::Access access = registry_access(session, command.options);
  access.fixed_credential = credential;
  DADI_CHECK(registry::Repository(access, place.host, place.repository, registry::Purpose::kPull).ping());
  DADI_CHECK(registry::store_credential(file, place.key(), credential));
  if (session.options.json) {
    session.answer({{"registry", place.key()}, {"username", credential.user}, {"file", file.string()}});
  } else {
    session.out().print("logged in to {}\n", place.key());
  }
  return {};
}

Result<void> run_logout(Session& session, const LoginCommand& command) {
  DADI_TRY(const Place place, parse_place(command.registry));
  const auto file = login_file(command.options);
  DADI_TRY(const bool erased, registry::erase_credential(file, place.key()));
  if (!erased) return Error::not_found("{} has no credential for {}", file.string(), place.key());
  if (session.options.json) {
    session.answer({{"registry", place.key()}, {"file", file.string()}});
  } else {
    session.out().print("logged out of {}\n", place.key());
  }
  return {};
}

}  // namespace

void add_login(CommandLine& line, Session& session) {
  auto& options = session.keep<LoginCommand>();
  auto command = line.add("login", "Keep a credential for a registry, once it was accepted",
                          "dadi login --username anna localhost:5000 < password.txt\n"
                          "dadi login --username anna --password-stdin localhost:5000 < password.txt");
  command.argument("REGISTRY", options.registry, "HOST[:PORT], or HOST/REPO for one repository")
      .option("-u,--username", options.user, "NAME", "Who logs in; asked for on a terminal")
      .flag("--password-stdin", options.password_stdin, "Read the password from standard input, even from a terminal");
  add_registry_options(command, options.options);
  command.run([&] { session.finish(run_login(session, options).context("login {}", options.registry)); });
}

void add_logout(CommandLine& line, Session& session) {
  auto& options = session.keep<LoginCommand>();
  auto command = line.add("logout", "Forget the credential for a registry", "dadi logout localhost:5000");
  command.argument("REGISTRY", options.registry, "As in login")
      .option("--authfile", options.options.authfile, "FILE", "Where it was kept");
  command.run([&] { session.finish(run_logout(session, options).context("logout {}", options.registry)); });
}

}  // namespace dadi
