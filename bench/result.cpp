#include "bench/result.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <set>

#include "host/program/environment.h"
#include "host/program/error.h"
#include "host/program/input.h"
#include "host/program/words.h"

namespace scalelab::bench {

using host::Failure;
using host::number;

double number_at(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number() ? found->get<double>() : std::nan("");
}

std::string time_text(double seconds) {
  if (!std::isfinite(seconds)) return "-";
  if (seconds < 1e-3) return fmt::format("{:.1f} us", 1e6 * seconds);
  if (seconds < 1) return fmt::format("{:.{}f} ms", 1e3 * seconds, seconds < 0.01 ? 3 : seconds < 0.1 ? 2 : 1);
  return fmt::format("{:.2f} s", seconds);
}

std::string ratio_text(double ratio) {
  return ratio < 100 ? fmt::format("{:.3g}", ratio) : fmt::format("{:.0f}", ratio);
}

std::string rate_text(double rate, const std::string& unit) {
  const char* prefix = "";
  for (const char* next : {"k", "M", "G", "T"}) {
    if (rate < 1000) break;
    rate /= 1000;
    prefix = next;
  }
  return fmt::format("{:.{}f} {}{}/s", rate, rate < 10 ? 2 : rate < 100 ? 1 : 0, prefix, unit);
}

std::string growth_text(const nlohmann::json& law) {
  if (!std::isfinite(number_at(law, "exponent"))) return "too few sizes";
  const double low = number_at(law, "low"), high = number_at(law, "high");
  std::string text = fmt::format("{}^{:.2f}", law.value("parameter", std::string()), number_at(law, "exponent"));
  if (std::isfinite(low) && std::isfinite(high)) text += fmt::format(" [{:.2f}, {:.2f}]", low, high);
  return text;
}

namespace {

struct CeilingName {
  const char *name, *unit;
  double Ceilings::*value;
};
constexpr CeilingName kCeilings[] = {
    {"copy_bytes", "B", &Ceilings::copy_bytes},        {"read_bytes", "B", &Ceilings::read_bytes},
    {"write_bytes", "B", &Ceilings::write_bytes},      {"cache_bytes", "B", &Ceilings::cache_bytes},
    {"shared_bytes", "B", &Ceilings::shared_bytes},    {"fma_flop", "flop", &Ceilings::fma_flop},
    {"minimum_ops", "op", &Ceilings::minimum_ops},     {"tensor_flop", "flop", &Ceilings::tensor_flop},
    {"launch_seconds", "", &Ceilings::launch_seconds}, {"barrier_seconds", "", &Ceilings::barrier_seconds}};

Ceilings ceilings_of(const nlohmann::json& object) {
  Ceilings ceilings;
  for (const auto& [name, unit, value] : kCeilings) ceilings.*value = number_at(object, name);
  return ceilings;
}

}  // namespace

nlohmann::json ceilings_json(const Ceilings& ceilings) {
  nlohmann::json object = nlohmann::json::object();
  for (const auto& [name, unit, value] : kCeilings) object[name] = number(ceilings.*value);
  return object;
}

Ceilings better_of(const Ceilings& one, const Ceilings& other) {
  Ceilings better = one;
  for (const auto& [name, unit, value] : kCeilings) {
    const bool rate = *unit != '\0';
    const double a = one.*value, b = other.*value;
    if (std::isnan(a) || (rate ? b > a : b < a)) better.*value = b;
  }
  return better;
}

nlohmann::json growth_json(const std::string& parameter, const Growth& law, double from, double to) {
  return {{"parameter", parameter}, {"exponent", number(law.exponent)},
          {"low", number(law.low)}, {"high", number(law.high)},
          {"from", number(from)},   {"to", number(to)}};
}

namespace {

// The rounds of a case by one clock.
nlohmann::json clock_json(const std::vector<Round>& rounds, std::vector<double> Round::*clock) {
  std::vector<double> medians;
  nlohmann::json samples = nlohmann::json::array();
  for (const Round& round : rounds) {
    medians.push_back(median(round.*clock));
    samples.push_back(round.*clock);
  }
  const Estimate e = estimate(medians);
  return {{"median", number(e.median)},
          {"low", number(e.low)},
          {"high", number(e.high)},
          {"rounds", medians},
          {"samples", samples}};
}

// The median over rounds of what was measured in them; null where nothing was.
nlohmann::json middle(const std::vector<Round>& rounds, double Round::*what) {
  std::vector<double> values;
  for (const Round& round : rounds) values.push_back(round.*what);
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  return number(median(values));
}

// What to beware of in the times of a row.
std::vector<std::string> warnings_of(const std::vector<Round>& rounds, const nlohmann::json& wall) {
  constexpr std::size_t kFewest = 3;  // rounds that say how far they scatter
  constexpr double kNoisy = 1.2;      // high / low
  std::vector<std::string> warnings;
  const double width = number_at(wall, "high") / number_at(wall, "low");
  if (rounds.size() < kFewest) {
    warnings.emplace_back("fewer than three rounds: the interval says little, and no comparison will be made");
  } else if (width > kNoisy) {
    warnings.push_back(
        fmt::format("noisy by wall time: rounds differ so much that the interval is {:.0f} % wide", 100 * (width - 1)));
  }
  std::uint64_t throttle = 0;
  for (const Round& round : rounds) throttle |= round.throttle;
  const std::vector<std::string> reasons = throttle_reasons(throttle);
  if (!reasons.empty()) {
    warnings.push_back(fmt::format("the device was held down by {}", fmt::join(reasons, ", ")));
  }
  return warnings;
}

nlohmann::json peer_json(const Peer& peer, double ours) {
  const double theirs = median(peer.wall);
  nlohmann::json object = {{"who", peer.who},       {"absent", peer.absent},    {"wall", peer.wall},
                           {"cpu", peer.cpu},       {"median", number(theirs)}, {"ratio", number(theirs / ours)},
                           {"answer", peer.answer}, {"note", peer.note},        {"version", peer.version}};
  if (peer.own_route) object["own_route"] = true;
  return object;
}

}  // namespace

nlohmann::json row_of(const Case& one, const Backend& backend, const Measured& m, const Ceilings& ceilings) {
  nlohmann::json row = {{"name", case_name(one.op, one.parameters)},
                        {"op", one.op},
                        {"parameters", one.parameters},
                        {"backend", backend.name},
                        {"unit", m.work.unit},
                        {"units", m.work.units},
                        {"bytes", m.work.bytes},
                        {"written_bytes", m.work.written_bytes},
                        {"flop", m.work.flop},
                        {"minima", m.work.minima},
                        {"tensor_flop", m.work.tensor_flop},
                        {"cache_bytes", m.work.cache_bytes},
                        {"counted", m.work.counted}};
  if (!m.wrong.empty()) {
    row["wrong"] = m.wrong;
    return row;
  }
  row["answer_digest"] = m.digest;
  row["wall"] = clock_json(m.rounds, &Round::wall);
  row["cpu"] = clock_json(m.rounds, &Round::cpu);
  for (const auto& [name, what] :
       {std::pair{"cold", &Round::cold}, {"joules", &Round::joules}, {"megahertz", &Round::megahertz}}) {
    if (auto value = middle(m.rounds, what); !value.is_null()) row[name] = value;
  }
  const double seconds = number_at(row["wall"], "median");
  const Roof roof = binding_roof(m.work, ceilings, seconds);
  row["roof"] = {{"name", roof.name}, {"floor_seconds", roof.floor_seconds}, {"share", roof.share}};
  row["peers"] = nlohmann::json::array();
  for (const Peer& peer : m.peers) row["peers"].push_back(peer_json(peer, seconds));
  row["warnings"] = warnings_of(m.rounds, row["wall"]);
  return row;
}

nlohmann::json noise_json(const nlohmann::json& document) {
  std::vector<std::vector<double>> rounds;
  for (const auto& row : document.at("rows")) {
    if (!row.contains("wrong")) rounds.push_back(row.at(clock_of(document)).at("rounds").get<std::vector<double>>());
  }
  const Noise noise = noise_of(rounds);
  return {{"median", number(noise.median)}, {"largest", number(noise.largest)}, {"cases", noise.cases}};
}

nlohmann::json document_of(const Ceilings& ceilings, const host::Session& session) {
  return {{"schema", 1},
          {"study", "bench"},
          {"experiment", "bench"},
          {"made", host::utc_now()},
          {"backend", session.context.backend().name},
          {"device", session.context.backend().describe(session.context)},
          {"threads", session.context.threads()},
          {"ceilings", ceilings_json(ceilings)},
          {"rows", nlohmann::json::array()},
          {"environment", host::environment(session)}};
}

std::unique_ptr<Power> power_of(const Context& context, nlohmann::json& document) {
  if (context.backend().name_device == nullptr) return nullptr;
  std::string why_not;
  auto power = Power::open(context.backend().name_device(context.device()).bus, &why_not);
  document["power"] = power != nullptr ? "NVML" : "no energy, clock or throttling: " + why_not;
  return power;
}

nlohmann::json read_result(const std::string& file) {
  auto document = host::read_json(file, file, host::kBadData);
  if (!document.is_object() || !document.contains("rows") || document.value("experiment", "") != "bench") {
    throw Failure(host::kBadData, fmt::format("{}: is no result of scalelab bench run", file));
  }
  return document;
}

std::string clock_of(const nlohmann::json& document) { return document.value("clock", std::string("wall")); }

double peer_seconds(const nlohmann::json& peer, const std::string& clock) {
  return median(peer.value(clock, std::vector<double>{}));
}

namespace {

// "Measured ceilings: copy 10.2 GB/s, ..."
std::string ceilings_text(const Ceilings& ceilings) {
  std::vector<std::string> parts;
  for (const auto& [name, unit, value] : kCeilings) {
    if (!std::isfinite(ceilings.*value)) continue;
    const std::string words(name, std::string_view(name).find('_'));
    parts.push_back(words + " " + (*unit == '\0' ? time_text(ceilings.*value) : rate_text(ceilings.*value, unit)));
  }
  return fmt::format("Measured ceilings: {}\n", fmt::to_string(fmt::join(parts, ", ")));
}

// "FAISS 1.15.1"
std::string called(const nlohmann::json& peer) {
  const std::string version = peer.value("version", std::string());
  return peer.value("who", std::string("?")) + (version.empty() ? "" : " " + version);
}

// How many samples there are in how many rounds, "5 x 12": of rounds with unequal numbers the middle one.
std::string samples_text(const nlohmann::json& times) {
  std::vector<double> sizes;
  for (const auto& round : times.value("samples", nlohmann::json::array())) {
    sizes.push_back(static_cast<double>(round.size()));
  }
  return sizes.empty() ? "-" : fmt::format("{} x {:.0f}", sizes.size(), median(sizes));
}

// What stands in which column of a case's lines.
std::string heading() {
  return fmt::format("case\n  {:<24} {:>10}  {:<20} {:>9}  {:>10}  {}\n", "backend", "median", "[95 % interval]",
                     "samples", "cold", "rate, and the share of the roof that binds");
}

std::string row_text(const nlohmann::json& row, const std::string& clock,
                     std::map<std::string, std::set<std::string>>& absent) {
  std::string text = row.value("name", std::string("?")) + "\n";
  const std::string wrong = row.value("wrong", std::string());
  if (!wrong.empty()) return text + fmt::format("  WRONG: {}\n", wrong);
  const auto& times = row.at(clock);
  const double middle = number_at(times, "median"), low = number_at(times, "low"), high = number_at(times, "high");
  text += fmt::format("  {:<24} {:>10}  {:<20} {:>9}  {:>10}  {}", row.value("backend", std::string("scalelab")),
                      time_text(middle), fmt::format("[{}, {}]", time_text(low), time_text(high)), samples_text(times),
                      time_text(number_at(row, "cold")),
                      rate_text(number_at(row, "units") / middle, row.value("unit", std::string("unit"))));
  const auto& roof = row.at("roof");
  if (roof.is_object() && !roof.value("name", std::string()).empty()) {
    text += fmt::format("  {:.0f} % of the {} roof", 100 * number_at(roof, "floor_seconds") / middle,
                        roof.at("name").get<std::string>());
  }
  if (row.contains("joules")) text += fmt::format("  {:.3g} J", number_at(row, "joules"));
  if (row.contains("megahertz")) text += fmt::format("  {:.0f} MHz", number_at(row, "megahertz"));
  if (row.contains("predicted")) {
    const double floor = number_at(row["predicted"], "seconds");
    text += fmt::format("\n  counted floor            {:>10}  by {}; the time is {} times that", time_text(floor),
                        row["predicted"].value("bound", std::string("?")), ratio_text(middle / floor));
  }
  text += "\n";
  for (const auto& peer : row.value("peers", nlohmann::json::array())) {
    const std::string who = called(peer), why = peer.value("absent", std::string());
    if (!why.empty()) {
      absent[who].insert(why);
      continue;
    }
    const double theirs = peer_seconds(peer, clock);
    const std::string note = peer.value("note", std::string());
    text += fmt::format("  {:<24} {:>10}  {:.1f}x  {}{}\n", who, time_text(theirs), theirs / middle,
                        peer.value("answer", std::string()), note.empty() ? "" : " (" + note + ")");
  }
  for (const auto& warning : row.value("warnings", nlohmann::json::array())) {
    text += fmt::format("  note: {}\n", warning.get<std::string>());
  }
  return text;
}

// The lines of `bench cost` group by group, and what lies between them.
std::string lines_text(const nlohmann::json& document) {
  std::string text, group;
  const auto crossings_of = [&document](const std::string& wanted) {
    std::string list;
    for (const auto& crossing : document.value("crossings", nlohmann::json::array())) {
      if (crossing.value("group", "") == wanted) list += "  " + crossing.value("text", "") + "\n";
    }
    return list;
  };
  for (const auto& line : document.at("lines")) {
    if (line.value("group", "") != group) {
      text += crossings_of(group);
      group = line.value("group", "");
      text += line.value("title", "") + "\n";
    }
    const auto& rows = line.at("rows");
    text += fmt::format("  {:<26}", line.value("name", ""));
    if (!rows.empty()) {
      const auto& last = document.at("rows").at(rows.back().get<std::size_t>());
      text += fmt::format(" {:<28} {} = {:g} in {}", growth_text(line.at("growth")), line.value("axis", ""),
                          number_at(last.at("parameters"), line.value("axis", "").c_str()),
                          last.contains("wall") ? time_text(number_at(last.at(clock_of(document)), "median")) : "-");
    }
    text += fmt::format("; ended by {}\n", line.value("ended", ""));
  }
  return text + crossings_of(group);
}

}  // namespace

std::string noise_text(const nlohmann::json& document) {
  const auto noise = document.value("noise", nlohmann::json::object());
  if (!std::isfinite(number_at(noise, "median"))) return "";
  return fmt::format(
      "A/A: the program against itself, every other round against the rest, differs by {:.1f} % in the middle of {} "
      "and "
      "by {:.1f} % at most: a smaller difference to another result says nothing.\n",
      100 * number_at(noise, "median"), host::counted(noise.value("cases", std::int64_t{0}), "case"),
      100 * number_at(noise, "largest"));
}

std::string text_of(const nlohmann::json& document) {
  std::string text = document.value("device", std::string("unknown device")) + "\n" +
                     ceilings_text(ceilings_of(document.value("ceilings", nlohmann::json::object()))) +
                     "Times are medians of rounds; samples: rounds x samples of each; cold: with the caches emptied "
                     "before. Of peers: how many times as long as ours, and how their answer compares.\n";
  const std::string clock = clock_of(document);
  if (clock != "wall") text += fmt::format("Times are {} time.\n", clock);
  std::map<std::string, std::set<std::string>> absent;
  if (document.contains("lines")) {
    for (const auto& row : document.at("rows")) {
      if (row.contains("wrong")) text += row_text(row, clock, absent);
    }
    text += lines_text(document);
  } else {
    text += heading();
    for (const auto& row : document.at("rows")) text += row_text(row, clock, absent);
  }
  text += noise_text(document);
  for (const auto& [who, why] : absent) {
    text += fmt::format("Absent: {} ({})\n", who, fmt::to_string(fmt::join(why, "; ")));
  }
  for (const auto& one : document.value("left_out", nlohmann::json::array())) {
    text += fmt::format("Left out: {} ({})\n", one.value("name", std::string("?")), one.value("why", std::string()));
  }
  const std::string power = document.value("power", "NVML");
  if (power != "NVML") text += fmt::format("{}\n", power);
  if (document.contains("stopped")) {
    text += fmt::format("Stopped by a signal: {} were timed, some of them in fewer rounds than asked for.\n",
                        document.at("stopped").get<std::string>());
  }
  if (document.contains("stolen")) {
    text += fmt::format("Other machines on this hardware took up to {:.0f} % of the processors' time during a case.\n",
                        100 * number_at(document, "stolen"));
  }
  for (const auto& law : document.value("exponents", nlohmann::json::array())) {
    text += fmt::format("{}: time grows as {} from {} to {}\n", law.value("op", std::string()), growth_text(law),
                        host::grouped(std::llround(number_at(law, "from"))),
                        host::grouped(std::llround(number_at(law, "to"))));
  }
  return text;
}

std::string markdown_of(const nlohmann::json& document, const std::string& filter) {
  const std::string clock = clock_of(document);
  std::string text = fmt::format("{}, {}, {} time, {}\n\n", document.value("device", std::string("unknown device")),
                                 document.value("environment", nlohmann::json::object()).value("cpu", "unknown CPU"),
                                 clock, document.value("made", std::string("undated")).substr(0, 10));
  text += "| case | ours, median [95 % interval] | samples | rate | of its roof | others, times as long |\n";
  text += "|---|---|---|---|---|---|\n";
  for (const auto& row : document.at("rows")) {
    const std::string name = row.value("name", std::string("?"));
    if (!wanted(name, filter)) continue;
    if (row.contains("wrong")) {
      text += fmt::format("| {} | WRONG: {} | | | | |\n", name, row.value("wrong", ""));
      continue;
    }
    const double ours = number_at(row.at(clock), "median"), low = number_at(row.at(clock), "low"),
                 high = number_at(row.at(clock), "high");
    const auto& roof = row.at("roof");
    std::vector<std::string> peers;
    for (const auto& peer : row.value("peers", nlohmann::json::array())) {
      const double ratio = peer_seconds(peer, clock) / ours;
      const char* own = peer.value("own_route", false) ? " (scalelab's own)" : "";
      if (ratio > 0) peers.push_back(fmt::format("{}{} {}x", called(peer), own, ratio_text(ratio)));
    }
    text += fmt::format(
        "| {} | {} [{}, {}] | {} | {} | {} | {} |\n", name, time_text(ours), time_text(low), time_text(high),
        samples_text(row.at(clock)), rate_text(number_at(row, "units") / ours, row.value("unit", std::string("unit"))),
        roof.value("name", "").empty()
            ? "-"
            : fmt::format("{:.0f} %, {}", 100 * number_at(roof, "floor_seconds") / ours, roof.value("name", "")),
        peers.empty() ? "-" : fmt::to_string(fmt::join(peers, ", ")));
  }
  const std::string noise = noise_text(document);
  return noise.empty() ? text : text + "\n" + noise;
}

namespace {

std::string csv_cell(const nlohmann::json& value) {
  return value.is_null() ? "" : value.is_string() ? value.get<std::string>() : value.dump();
}
std::string csv_number(double value) { return std::isfinite(value) ? fmt::format("{:.9g}", value) : ""; }

// All samples of a clock that a row or a peer has.
std::size_t sample_count(const nlohmann::json& samples) {
  std::size_t count = 0;
  for (const auto& part : samples) count += part.is_array() ? part.size() : 1;
  return count;
}

}  // namespace

std::string csv_of(const nlohmann::json& document) {
  const std::string clock = clock_of(document);
  // A column for every parameter that any op has.
  std::vector<std::string> parameters;
  for (const auto& row : document.at("rows")) {
    const auto values = row.value("parameters", nlohmann::json::object());
    for (const auto& [name, value] : values.items()) {
      if (std::find(parameters.begin(), parameters.end(), name) == parameters.end()) parameters.push_back(name);
    }
  }
  std::vector<std::string> columns = {"case", "op"};
  columns.insert(columns.end(), parameters.begin(), parameters.end());
  for (const char* name :
       {"who", "version", "own_route", "clock", "seconds", "low", "high", "rounds", "samples", "cold_seconds", "units",
        "unit", "times_ours", "roof", "roof_seconds", "answer_digest", "answer", "note", "wrong"}) {
    columns.emplace_back(name);
  }
  std::vector<std::vector<std::string>> lines;
  for (const auto& row : document.at("rows")) {
    // A line for ourselves and one for each peer, which begin alike.
    std::vector<std::string> head = {row.value("name", ""), row.value("op", "")};
    const auto values = row.value("parameters", nlohmann::json::object());
    for (const auto& name : parameters) head.push_back(values.contains(name) ? csv_cell(values.at(name)) : "");
    const auto add = [&lines, &head](std::vector<std::string> rest) {
      lines.push_back(head);
      lines.back().insert(lines.back().end(), rest.begin(), rest.end());
    };
    const std::string units = csv_number(number_at(row, "units")), unit = row.value("unit", "");
    if (row.contains("wrong")) {
      add({"scalelab", "", "", clock, "", "", "", "", "", "", units, unit, "", "", "", "", "", "",
           row.value("wrong", "")});
      continue;
    }
    const auto& times = row.at(clock);
    const auto roof = row.value("roof", nlohmann::json::object());
    const double ours = number_at(times, "median");
    add({"scalelab", document.value("environment", nlohmann::json::object()).value("version", ""), "", clock,
         csv_number(ours), csv_number(number_at(times, "low")), csv_number(number_at(times, "high")),
         std::to_string(times.at("rounds").size()),
         std::to_string(sample_count(times.value("samples", nlohmann::json::array()))),
         csv_number(number_at(row, "cold")), units, unit, "1", roof.value("name", ""),
         csv_number(number_at(roof, "floor_seconds")), row.value("answer_digest", ""), "", "", ""});
    for (const auto& peer : row.value("peers", nlohmann::json::array())) {
      const double theirs = peer_seconds(peer, clock);
      const std::string absent = peer.value("absent", "");
      add({peer.value("who", ""), peer.value("version", ""), peer.value("own_route", false) ? "1" : "", clock,
           csv_number(theirs), "", "", "", std::to_string(sample_count(peer.value(clock, nlohmann::json::array()))), "",
           units, unit, csv_number(theirs / ours), "", "", "", peer.value("answer", ""),
           absent.empty() ? peer.value("note", "") : "absent: " + absent, ""});
    }
  }
  return host::csv_of(columns, lines);
}

Compared compared_of(const std::vector<ComparedCase>& cases, const std::string& clock, double fail_over) {
  Compared result;
  result.document = {
      {"schema", 1}, {"experiment", "bench compare"}, {"clock", clock}, {"rows", nlohmann::json::array()}};
  result.text = fmt::format("{:<78} {:>8}  {:<20} {}\n", "case", "b / a", "95 % interval", "b is");
  std::map<std::string, int> counts;
  for (const auto& [name, why_not, verdict, measured] : cases) {
    nlohmann::json row = {{"name", name}};
    if (why_not.empty()) {
      ++counts[verdict.word];
      result.over = result.over || (verdict.word == "slower" && verdict.ratio > 1 + fail_over);
      result.text += fmt::format("{:<78} {:>8.3f}  {:<20} {}{}\n", name, verdict.ratio,
                                 verdict.too_few ? "-" : fmt::format("[{:.3f}, {:.3f}]", verdict.low, verdict.high),
                                 verdict.word, verdict.too_few ? " (too few rounds)" : "");
      row.update({{"ratio", number(verdict.ratio)},
                  {"low", number(verdict.low)},
                  {"high", number(verdict.high)},
                  {"verdict", verdict.word},
                  {"too_few", verdict.too_few}});
    } else {
      ++counts["not comparable"];
      result.text += fmt::format("{:<78} {:>8}  {:<20} not comparable: {}\n", name, "-", "-", why_not);
      row.update({{"verdict", "not comparable"}, {"why", why_not}});
    }
    if (!measured.is_null()) row.update(measured);
    result.document["rows"].push_back(std::move(row));
  }
  result.text += fmt::format("By {} time:", clock);
  for (const auto& [word, count] : counts) result.text += fmt::format(" {} {},", count, word);
  result.text.back() = '\n';
  return result;
}

Compared compare_results(const std::string& a_file, const std::string& b_file, const CompareOptions& options,
                         bool relative) {
  const double margin = options.margin;
  const auto a = read_result(a_file), b = read_result(b_file);
  std::map<std::string, nlohmann::json> before;
  for (const auto& row : a.at("rows")) before[row.value("name", std::string())] = row;
  const auto rounds_of = [&](const nlohmann::json& row) {
    return row.at(options.clock).at("rounds").get<std::vector<double>>();
  };
  std::vector<ComparedCase> cases;
  std::vector<double> ratios;
  std::int64_t alike = 0;
  std::vector<std::string> unlike;  // cases whose answers have other bits
  for (const auto& row : b.at("rows")) {
    ComparedCase one{.name = row.value("name", std::string())};
    const auto found = before.find(one.name);
    if (found == before.end()) {
      one.why_not = "only b has it";
    } else if (found->second.contains("wrong") || row.contains("wrong")) {
      one.why_not = fmt::format("the answer of {} is wrong", row.contains("wrong") ? "b" : "a");
    } else {
      one.verdict = compare_rounds(rounds_of(found->second), rounds_of(row), margin);
      ratios.push_back(one.verdict.ratio);
      const std::string theirs = found->second.value("answer_digest", ""), digest = row.value("answer_digest", "");
      if (!theirs.empty() && theirs == digest) ++alike;
      if (!theirs.empty() && !digest.empty() && theirs != digest) unlike.push_back(one.name);
    }
    cases.push_back(std::move(one));
  }
  const double shared = ratios.empty() ? 1 : median(ratios);
  if (relative) {
    for (std::size_t i = 0; i < cases.size(); ++i) {
      if (!cases[i].why_not.empty()) continue;
      std::vector<double> y = rounds_of(b.at("rows").at(i));
      for (double& seconds : y) seconds /= shared;
      cases[i].verdict = compare_rounds(rounds_of(before[cases[i].name]), y, margin);
    }
  }
  Compared result = compared_of(cases, options.clock, options.fail_over);
  result.document["a"] = a_file;
  result.document["b"] = b_file;
  result.document["margin"] = margin;
  result.document["shared_ratio"] = shared;
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  constexpr std::size_t kFewestCases = 3;  // of two, either may be the one that changed
  if (relative && ratios.size() < kFewestCases) {
    result.text +=
        fmt::format("--relative says little of {} cases; {} and more are needed\n", ratios.size(), kFewestCases);
  } else if (relative) {
    result.text += fmt::format("Relative to what all cases did together: {:.3f}\n", shared);
  } else if (ratios.size() >= kFewestCases && (*most < 1 || *least > 1)) {
    result.text += fmt::format(
        "Every case went the same way, by {:.3f} in the middle: that may be the machine and not the program. Compare "
        "the programs themselves, which are then timed in turn, or see each case beside the others with --relative.\n",
        shared);
  }
  result.document["answers"] = {{"alike", alike}, {"unlike", unlike}};
  if (alike > 0 || !unlike.empty()) {
    result.text += fmt::format("Answers with the same bits: {} of {}{}\n", alike, alike + std::ssize(unlike),
                               unlike.empty() ? "" : fmt::format("; others: {}", fmt::join(unlike, ", ")));
  }
  if (a.value("device", "") != b.value("device", "") || a.value("threads", 0) != b.value("threads", 0)) {
    result.text += fmt::format("a ran on {} ({} threads), b on {} ({})\n", a.value("device", "?"),
                               a.value("threads", 0), b.value("device", "?"), b.value("threads", 0));
  }
  return result;
}

}  // namespace scalelab::bench
