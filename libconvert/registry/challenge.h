// WWW-Authenticate, as RFC 9110 §11.6.1 writes it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace dadi::registry {

struct Challenge {
  std::string scheme;                             // in lower case
  std::map<std::string, std::string> parameters;  // names in lower case
};

// The challenges of one header; what makes no sense ends the list.
std::vector<Challenge> parse_challenges(std::string_view header);

}  // namespace dadi::registry
