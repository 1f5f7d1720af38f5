// dadi stats [NAME]
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>

#include "apps/dadi/attached.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/sizes.h"
#include "apps/dadi/table.h"
#include "runtime/attach/control.h"
#include "runtime/attach/metrics.h"

namespace dadi {
namespace {

constexpr std::chrono::seconds kPatience(5);

struct StatsOptions {
  std::string name;
  bool prometheus = false;
};

// An attachment whose device answered.
struct Counted {
  attach::Listing listing;
  Json stats;
};

Result<std::vector<Counted>> collect(Session& session, const StatsOptions& options) {
  std::vector<attach::Listing> listings;
  DADI_TRY(const auto folder, attach::StateFolder::find());
  if (folder) {
    DADI_TRY(listings, attach::list(*folder));
  }
  if (!options.name.empty()) {
    std::erase_if(listings, [&](const attach::Listing& one) { return one.attachment.name != options.name; });
    if (listings.empty()) {
      return Error::not_found("nothing is attached as {}", options.name).with_hint("dadi ps lists what is attached");
    }
  }
  std::vector<Counted> counted;
  for (attach::Listing& listing : listings) {
    if (listing.state != attach::Listing::State::kRunning) {
      session.note(
          fmt::format("{} is {}, and counts nothing", listing.attachment.name, attach::name_of(listing.state)));
      continue;
    }
    auto stats =
        attach::ask(listing.control_socket, {{"request", "stats"}}, attach::Patience::of(kPatience, session.stop()));
    if (stats) {
      counted.push_back({std::move(listing), std::move(*stats)});
    } else {
      session.note(fmt::format("{}: {}", listing.attachment.name, stats.error().message()));
    }
  }
  return counted;
}

// One series for a device, however many attachments share it: sums stay true.
std::string prometheus(const std::vector<Counted>& all) {
  std::vector<attach::NamedStats> devices;
  std::vector<std::string> names;
  for (const Counted& one : all) {
    const std::string& device = one.listing.device->device;
    const auto known = std::ranges::find(devices, device, [](const auto& other) { return other.labels[0].second; });
    if (known != devices.end()) {
      known->labels[1].second += "," + one.listing.attachment.name;
    } else {
      devices.push_back(
          {{{"device", device}, {"name", one.listing.attachment.name}, {"reference", one.listing.attachment.reference}},
           one.stats});
    }
  }
  return attach::prometheus_text(devices);
}

template <typename T>
T value_at(const Json& json, const char* pointer) {
  const Json::json_pointer where(pointer);
  return json.contains(where) && json[where].is_number() ? json[where].get<T>() : T{};
}

std::string time_text(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.3g} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.3g} ms", seconds * 1e3);
  return fmt::format("{:.3g} s", seconds);
}

std::string stats_table(const std::vector<Counted>& all) {
  using enum Table::Align;
  Table table({{"NAME"},
               {"DEVICE"},
               {"READS", kRight},
               {"BYTES", kRight},
               {"ERRORS", kRight},
               {"P50", kRight},
               {"P99", kRight},
               {"HITS", kRight},
               {"CACHE", kRight}});
  for (const Counted& one : all) {
    const auto hits = value_at<double>(one.stats, "/cache/hits");
    const auto blocks = hits + value_at<double>(one.stats, "/cache/misses");
    table.add({one.listing.attachment.name, one.listing.device->device,
               std::to_string(value_at<std::uint64_t>(one.stats, "/reads")),
               format_size({value_at<std::uint64_t>(one.stats, "/bytes")}),
               std::to_string(value_at<std::uint64_t>(one.stats, "/errors")),
               time_text(value_at<double>(one.stats, "/latency/p50")),
               time_text(value_at<double>(one.stats, "/latency/p99")),
               blocks > 0 ? fmt::format("{:.0f}%", 100 * hits / blocks) : "-",
               format_size({value_at<std::uint64_t>(one.stats, "/cache/bytes")})});
  }
  return table.render();
}

Result<void> show_stats(Session& session, const StatsOptions& options) {
  DADI_TRY(const auto all, collect(session, options));
  if (options.prometheus) {
    session.out().text(prometheus(all));
  } else if (session.options.json) {
    Json list = Json::array();
    for (const Counted& one : all) {
      Json object = {{"name", one.listing.attachment.name}, {"device", one.listing.device->device}};
      object.update(one.stats);
      list.push_back(std::move(object));
    }
    session.answer(list);
  } else {
    session.out().text(stats_table(all));
  }
  return {};
}

}  // namespace

void add_stats(CommandLine& line, Session& session) {
  auto& options = session.keep<StatsOptions>();
  auto command = line.add("stats", "Reads, bytes, latencies and cache hits of the attached images",
                          "dadi stats\n"
                          "dadi stats --json web | jq '.[].latency.p99'\n"
                          "dadi stats --prometheus");
  command.optional_argument("NAME", options.name, "Of this attachment alone")
      .flag("--prometheus", options.prometheus, "In the text format of Prometheus");
  command.run([&] { session.finish(show_stats(session, options).context("stats")); });
}

}  // namespace dadi
