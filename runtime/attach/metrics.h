// What a device counts, as JSON and as Prometheus text.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/attach/records.h"
#include "runtime/device/image_device.h"

namespace dadi::attach {

// {"reads", "bytes", "under_way", "errors", "corruptions", "cache": {"hits", "misses", "bytes", "limit"}, "latency":
// {"mean", "p50", "p99", "sum", "buckets": [{"le", "count"} …]}}. Times in seconds; counts of buckets are cumulative.
Json stats_json(const runtime::DeviceStats& stats, Bytes cache_limit);

// One device's counters, and what it is called in their labels.
struct NamedStats {
  std::vector<std::pair<std::string, std::string>> labels;
  Json stats;  // as stats_json() gives it; of another process
};

// The text format 0.0.4. What is missing in `stats` or has the wrong type is left out.
std::string prometheus_text(std::span<const NamedStats> all);

}  // namespace dadi::attach
