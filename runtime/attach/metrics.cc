#include "runtime/attach/metrics.h"

#include <fmt/format.h>

#include <chrono>
#include <string_view>

namespace dadi::attach {
namespace {

struct Metric {
  std::string_view name;
  std::string_view type;
  std::string_view help;
  const char* pointer;  // into the JSON
};

constexpr Metric kMetrics[] = {
    {"dadi_reads_total", "counter", "Reads of the device that succeeded.", "/reads"},
    {"dadi_read_bytes_total", "counter", "Bytes that they gave.", "/bytes"},
    {"dadi_reads_under_way", "gauge", "Reads of the device that have not ended.", "/under_way"},
    {"dadi_read_errors_total", "counter", "Reads of the device that failed.", "/errors"},
    {"dadi_corruptions_total", "counter", "Failed reads whose cause is damaged content.", "/corruptions"},
    {"dadi_cache_hits_total", "counter", "Blocks that were found decompressed.", "/cache/hits"},
    {"dadi_cache_misses_total", "counter", "Blocks that were decompressed.", "/cache/misses"},
    {"dadi_cache_bytes", "gauge", "Memory that decompressed blocks take.", "/cache/bytes"},
    {"dadi_registry_requests_total", "counter", "Requests to the registry.", "/registry/requests"},
    {"dadi_registry_bytes_total", "counter", "Bytes of its answers.", "/registry/bytes"},
    {"dadi_block_cache_hits_total", "counter", "Chunks that the cache on disk had.", "/registry/chunks/hits"},
    {"dadi_block_cache_misses_total", "counter", "Chunks that it did not have.", "/registry/chunks/misses"},
    {"dadi_block_cache_damaged_total", "counter", "Chunks that were damaged there.", "/registry/chunks/damaged"},
    {"dadi_replay_fetched_bytes_total", "counter", "Bytes fetched because the image's trace says so.",
     "/replay/fetched"},
    {"dadi_replay_failures_total", "counter", "Pieces of them that could not be fetched.", "/replay/failures"},
    {"dadi_replay_hit_bytes_total", "counter", "Bytes of them that reads asked for later.", "/replay/hits"},
    {"dadi_replay_late_bytes_total", "counter", "Bytes of them that reads had asked for before.", "/replay/late"},
    {"dadi_replay_wasted_bytes", "gauge", "Bytes of them that no read has asked for so far.", "/replay/wasted"},
};
constexpr std::string_view kHistogram = "dadi_read_seconds";

double seconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\\' || c == '"') result += '\\';
    c == '\n' ? result += "\\n" : result += c;
  }
  return result;
}

// {name="web",le="0.5"}
std::string label_text(const NamedStats& one, std::string_view bound = {}) {
  std::string text;
  for (const auto& [key, value] : one.labels) {
    text += fmt::format("{}{}=\"{}\"", text.empty() ? "" : ",", key, escaped(value));
  }
  if (!bound.empty()) text += fmt::format("{}le=\"{}\"", text.empty() ? "" : ",", bound);
  return "{" + text + "}";
}

const Json* find(const Json& json, const char* pointer) {
  const Json::json_pointer where(pointer);
  return json.contains(where) ? &json[where] : nullptr;
}

std::string metric_text(const Metric& metric, std::span<const NamedStats> all) {
  std::string text = fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", metric.name, metric.help, metric.type);
  for (const NamedStats& one : all) {
    const Json* value = find(one.stats, metric.pointer);
    if (value != nullptr && value->is_number()) {
      text += fmt::format("{}{} {}\n", metric.name, label_text(one), value->get<std::uint64_t>());
    }
  }
  return text;
}

std::string histogram_text(const NamedStats& one) {
  const Json* buckets = find(one.stats, "/latency/buckets");
  const Json* sum = find(one.stats, "/latency/sum");
  const Json* count = find(one.stats, "/reads");
  if (buckets == nullptr || !buckets->is_array() || sum == nullptr || !sum->is_number()) return "";
  if (count == nullptr || !count->is_number()) return "";
  std::string text;
  for (const Json& bucket : *buckets) {
    const Json* bound = find(bucket, "/le");
    const Json* below = find(bucket, "/count");
    if (bound == nullptr || !bound->is_number() || below == nullptr || !below->is_number()) return "";
    text += fmt::format("{}_bucket{} {}\n", kHistogram, label_text(one, fmt::format("{:g}", bound->get<double>())),
                        below->get<std::uint64_t>());
  }
  text += fmt::format("{}_bucket{} {}\n", kHistogram, label_text(one, "+Inf"), count->get<std::uint64_t>());
  text += fmt::format("{}_sum{} {}\n", kHistogram, label_text(one), sum->get<double>());
  return text + fmt::format("{}_count{} {}\n", kHistogram, label_text(one), count->get<std::uint64_t>());
}

Json latency_json(const runtime::LatencyHistogram::Snapshot& latency) {
  using Histogram = runtime::LatencyHistogram;
  const std::uint64_t count = latency.count();
  Json buckets = Json::array();
  std::uint64_t below = 0;
  for (std::size_t i = 0; i + 1 < Histogram::kBuckets; ++i) {
    below += latency.counts[i];
    buckets.push_back({{"le", seconds(Histogram::bound(i))}, {"count", below}});
  }
  return {{"mean", count == 0 ? 0.0 : seconds(latency.sum) / static_cast<double>(count)},
          {"p50", seconds(latency.quantile(0.5))},
          {"p99", seconds(latency.quantile(0.99))},
          {"sum", seconds(latency.sum)},
          {"buckets", std::move(buckets)}};
}

}  // namespace

Json stats_json(const runtime::DeviceStats& stats, Bytes cache_limit) {
  return {{"reads", stats.latency.count()},
          {"bytes", stats.bytes.value},
          {"under_way", stats.under_way},
          {"errors", stats.errors},
          {"corruptions", stats.corruptions},
          {"cache",
           {{"hits", stats.cache.hits},
            {"misses", stats.cache.misses},
            {"bytes", stats.cache.memory.value},
            {"limit", cache_limit.value}}},
          {"latency", latency_json(stats.latency)}};
}

std::string prometheus_text(std::span<const NamedStats> all) {
  std::string text;
  for (const Metric& metric : kMetrics) text += metric_text(metric, all);
  text += fmt::format("# HELP {0} How long reads took that succeeded.\n# TYPE {0} histogram\n", kHistogram);
  for (const NamedStats& one : all) text += histogram_text(one);
  return text;
}

}  // namespace dadi::attach
