#include "libconvert/registry/challenge.h"

#include <algorithm>

#include "libformat/base/ascii.h"

namespace dadi::registry {

namespace {

class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  void skip(std::string_view characters) {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(characters), rest_.size()));
  }
  bool take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::string token() {
    const std::size_t end = std::min(rest_.find_first_of(" \t,=\""), rest_.size());
    std::string word = lower_ascii(rest_.substr(0, end));
    rest_.remove_prefix(end);
    return word;
  }
  std::string value() {
    if (!take('"')) {
      const std::size_t end = std::min(rest_.find_first_of(" \t,"), rest_.size());
      std::string word(rest_.substr(0, end));
      rest_.remove_prefix(end);
      return word;
    }
    std::string text;
    while (!rest_.empty() && !take('"')) {
      if (rest_.front() == '\\' && rest_.size() > 1) rest_.remove_prefix(1);
      text += rest_.front();
      rest_.remove_prefix(1);
    }
    return text;
  }

 private:
  std::string_view rest_;
};

}  // namespace

std::vector<Challenge> parse_challenges(std::string_view header) {
  std::vector<Challenge> challenges;
  Scanner scanner(header);
  for (;;) {
    scanner.skip(" \t,");
    const std::string word = scanner.token();
    if (word.empty()) return challenges;
    if (!scanner.take('=')) {
      challenges.push_back({word, {}});
    } else if (challenges.empty()) {
      return challenges;
    } else {
      challenges.back().parameters[word] = scanner.value();
    }
  }
}

}  // namespace dadi::registry
