#include "runtime/nbd/negotiation.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <cstring>

#include "libformat/base/bytes.h"

namespace dadi::nbd {
namespace {

constexpr std::size_t kOptionHead = 16;
constexpr std::size_t kLongestOption = 32 << 10;  // bytes of data; longer ones are refused
constexpr std::size_t kMostOptions = 256;         // of one handshake

// The fields of an option's data, one after the other. Every one is absent once the data was too short.
class Fields {
 public:
  explicit Fields(std::span<const std::byte> data) : rest_(data) {}

  template <std::unsigned_integral T>
  std::optional<T> number() {
    if (rest_.size() < sizeof(T)) return std::nullopt;
    const T value = load_be<T>(rest_, 0);
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }

  // A 32-bit length, and so many bytes of text.
  std::optional<std::string_view> string() {
    const auto size = number<std::uint32_t>();
    if (!size || *size > kMaxString || *size > rest_.size()) return std::nullopt;
    const std::string_view text = as_text(rest_.first(*size));
    rest_ = rest_.subspan(*size);
    return text;
  }

  bool at_end() const { return rest_.empty(); }

 private:
  std::span<const std::byte> rest_;
};

void put(std::string& out, std::unsigned_integral auto value) {
  const std::size_t at = out.size();
  out.resize(at + sizeof value);
  store_be(std::as_writable_bytes(std::span(out)), at, value);
}

void reply(Output& out, Option option, OptionReply kind, std::string_view data = {}) {
  std::string text;
  put(text, kOptionReplyMagic);
  put(text, static_cast<std::uint32_t>(option));
  put(text, static_cast<std::uint32_t>(kind));
  put(text, static_cast<std::uint32_t>(data.size()));
  text += data;
  out.append(as_bytes(text));
}

void reply_info(Output& out, Option option, Info kind, std::string_view content) {
  std::string data;
  put(data, static_cast<std::uint16_t>(kind));
  data += content;
  reply(out, option, OptionReply::kInfo, data);
}

std::string export_facts(const Export& served, bool structured) {
  std::string facts;
  put(facts, to_bytes(served.device->size()).value);
  put(facts, transmission_flags(served, structured));
  return facts;
}

std::string size_facts(const BlockSizes& sizes) {
  std::string facts;
  for (const std::uint32_t size : {sizes.minimum, sizes.preferred, sizes.maximum}) put(facts, size);
  return facts;
}

}  // namespace

std::uint16_t transmission_flags(const Export& served, bool structured) {
  std::uint16_t flags = kHasFlags | kCanMultiConn | kSendCache;
  if (structured) flags |= kSendDf;
  if (!served.writer) return flags | kReadOnly;
  return flags | kSendFlush | kSendFua | kSendTrim | kSendWriteZeroes | kSendFastZero;
}

Negotiation::Negotiation(std::span<const Export> exports, bool tls_required, Output& out)
    : exports_(exports), tls_possible_(tls_required), tls_required_(tls_required) {
  std::string greeting;
  put(greeting, kInitMagic);
  put(greeting, kOptionMagic);
  put(greeting, static_cast<std::uint16_t>(kFixedNewstyle | kNoZeroes));
  out.append(as_bytes(greeting));
}

void Negotiation::tls_started() {
  state_ = State::kOpen;
  tls_possible_ = tls_required_ = false;
  structured_ = false;  // nothing that was said in plain text counts
  allocation_of_.reset();
}

Result<std::size_t> Negotiation::consume(std::span<const std::byte> input, Output& out) {
  std::size_t taken = 0;
  while (state_ == State::kOpen) {
    const auto rest = input.subspan(taken);
    std::size_t step = 0;
    if (skip_ > 0) {
      step = std::min<std::uint64_t>(skip_, rest.size());
      skip_ -= step;
    } else if (!greeted_) {
      DADI_TRY(step, take_flags(rest));
    } else {
      DADI_TRY(step, take_option(rest, out));
    }
    if (step == 0) break;
    taken += step;
  }
  return taken;
}

Result<std::size_t> Negotiation::take_flags(std::span<const std::byte> input) {
  if (input.size() < 4) return std::size_t{0};
  const auto flags = load_be<std::uint32_t>(input, 0);
  if ((flags & ~std::uint32_t{kFixedNewstyle | kNoZeroes}) != 0)
    return Error::invalid_argument("unknown client flags {:#x}", flags);
  no_zeroes_ = (flags & kNoZeroes) != 0;
  greeted_ = true;
  return std::size_t{4};
}

Result<std::size_t> Negotiation::take_option(std::span<const std::byte> input, Output& out) {
  if (input.size() < kOptionHead) return std::size_t{0};
  if (load_be<std::uint64_t>(input, 0) != kOptionMagic) return Error::invalid_argument("an option without its magic");
  const auto option = static_cast<Option>(load_be<std::uint32_t>(input, 8));
  const auto size = load_be<std::uint32_t>(input, 12);
  const bool too_long = size > kLongestOption;
  if (!too_long && input.size() - kOptionHead < size) return std::size_t{0};
  if (++options_ > kMostOptions) return Error::invalid_argument("more than {} options", kMostOptions);
  if (too_long) {
    if (option == Option::kExportName) return Error::invalid_argument("an export name of {} bytes", size);
    skip_ = size;
    reply(out, option, OptionReply::kErrorTooBig);
    return kOptionHead;
  }
  DADI_CHECK(answer(option, input.subspan(kOptionHead, size), out));
  return kOptionHead + size;
}

Result<void> Negotiation::answer(Option option, std::span<const std::byte> data, Output& out) {
  if (tls_required_ && option != Option::kStartTls && option != Option::kAbort) {
    if (option == Option::kExportName) return Error::invalid_argument("an export was asked for without TLS");
    reply(out, option, OptionReply::kErrorTlsRequired);
    return {};
  }
  switch (option) {
    case Option::kExportName:
      return export_name(as_text(data), out);
    case Option::kAbort:
      reply(out, option, OptionReply::kAck);
      state_ = State::kAborted;
      break;
    case Option::kList:
      list(data, out);
      break;
    case Option::kStartTls:
      start_tls(data, out);
      break;
    case Option::kInfo:
    case Option::kGo:
      info(option, data, out);
      break;
    case Option::kStructuredReply:
      structured_reply(data, out);
      break;
    case Option::kListMetaContext:
    case Option::kSetMetaContext:
      meta_context(option, data, out);
      break;
    default:
      reply(out, option, OptionReply::kErrorUnsupported);
  }
  return {};
}

const Export* Negotiation::find(std::string_view name) const {
  const auto found = std::ranges::find(exports_, name, &Export::name);
  if (found != exports_.end()) return &*found;
  return name.empty() ? &exports_.front() : nullptr;
}

void Negotiation::agree_on(const Export& served) {
  const bool allocation = allocation_of_ && find(*allocation_of_) == &served;
  agreement_ = {.served = &served, .structured = structured_, .allocation = allocation};
  state_ = State::kAgreed;
}

// The old way in. It cannot be answered with an error.
Result<void> Negotiation::export_name(std::string_view name, Output& out) {
  const Export* served = find(name);
  if (served == nullptr) return Error::invalid_argument("an unknown export was asked for");
  std::string text = export_facts(*served, structured_);
  if (!no_zeroes_) text.append(124, '\0');
  out.append(as_bytes(text));
  agree_on(*served);
  return {};
}

void Negotiation::list(std::span<const std::byte> data, Output& out) {
  if (!data.empty()) return reply(out, Option::kList, OptionReply::kErrorInvalid);
  for (const Export& served : exports_) {
    std::string text;
    put(text, static_cast<std::uint32_t>(served.name.size()));
    text += served.name + served.description;
    reply(out, Option::kList, OptionReply::kServer, text);
  }
  reply(out, Option::kList, OptionReply::kAck);
}

void Negotiation::start_tls(std::span<const std::byte> data, Output& out) {
  if (!data.empty()) return reply(out, Option::kStartTls, OptionReply::kErrorInvalid);
  if (!tls_possible_) return reply(out, Option::kStartTls, OptionReply::kErrorPolicy);
  reply(out, Option::kStartTls, OptionReply::kAck);
  state_ = State::kStartTls;
}

void Negotiation::info(Option option, std::span<const std::byte> data, Output& out) {
  Fields fields(data);
  const auto name = fields.string();
  const auto count = fields.number<std::uint16_t>();
  std::bitset<4> wanted;
  for (unsigned i = 0; i < count.value_or(0); ++i) {
    const auto kind = fields.number<std::uint16_t>();
    if (!kind) return reply(out, option, OptionReply::kErrorInvalid);
    if (*kind < wanted.size()) wanted.set(*kind);
  }
  if (!name || !count || !fields.at_end()) return reply(out, option, OptionReply::kErrorInvalid);
  const Export* served = find(*name);
  if (served == nullptr) return reply(out, option, OptionReply::kErrorUnknown);
  const auto wants = [&](Info kind) { return wanted.test(static_cast<std::size_t>(kind)); };
  reply_info(out, option, Info::kExport, export_facts(*served, structured_));
  if (wants(Info::kName)) reply_info(out, option, Info::kName, served->name);
  if (wants(Info::kDescription) && !served->description.empty())
    reply_info(out, option, Info::kDescription, served->description);
  reply_info(out, option, Info::kBlockSize, size_facts(block_sizes(*served)));
  reply(out, option, OptionReply::kAck);
  if (option == Option::kGo) agree_on(*served);
}

void Negotiation::structured_reply(std::span<const std::byte> data, Output& out) {
  if (!data.empty()) return reply(out, Option::kStructuredReply, OptionReply::kErrorInvalid);
  structured_ = true;
  reply(out, Option::kStructuredReply, OptionReply::kAck);
}

// Queries are names of contexts, or, when they are to be listed, "base:" for all of that namespace. No query at all
// lists every context, and sets none.
void Negotiation::meta_context(Option option, std::span<const std::byte> data, Output& out) {
  const bool setting = option == Option::kSetMetaContext;
  if (setting) allocation_of_.reset();
  Fields fields(data);
  const auto name = fields.string();
  const auto count = fields.number<std::uint32_t>();
  bool valid = structured_ && name && count;
  bool chosen = !setting && count == 0U;
  for (std::uint32_t i = 0; valid && i < *count; ++i) {
    const auto query = fields.string();
    valid = query && query->find(':') != std::string_view::npos;
    chosen = chosen || (valid && (*query == kAllocationContext || (!setting && *query == "base:")));
  }
  if (!valid || !fields.at_end()) return reply(out, option, OptionReply::kErrorInvalid);
  if (find(*name) == nullptr) return reply(out, option, OptionReply::kErrorUnknown);
  if (chosen) {
    std::string text;
    put(text, setting ? kAllocationContextId : 0);
    text += kAllocationContext;
    reply(out, option, OptionReply::kMetaContext, text);
    if (setting) allocation_of_ = *name;
  }
  reply(out, option, OptionReply::kAck);
}

}  // namespace dadi::nbd
