// options: what a command line may hold, for the files that register options.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace scalelab::host {

// Checks of an option's text, for CLI::Option::check. They say what was expected; plain decimal digits only.
CLI::Validator whole_number(std::uint64_t low, std::uint64_t high);
CLI::Validator real_number(double low, double high);  // finite, ends included
CLI::Validator one_of(std::vector<std::string> words);
// For CLI::Option::transform: "512M", "8G", in powers of 1024, become bytes.
CLI::Validator memory_size();
// Likewise "90", "90s", "55m", "2h" become seconds.
CLI::Validator duration();

// Lists (lists.h). Their items stand between commas, spaces or both; a whole number may be a range, as 0..4,7. Refused,
// with the item named: one that is no number or out of range, a range that ends before it begins, one that stands twice,
// and more than kMostItems. Values are kept in the order given; what `values` holds before is the default.
CLI::Option* add_list(CLI::App& app, const std::string& name, std::vector<int>& values, std::int64_t low,
                      std::int64_t high, const std::string& help);
CLI::Option* add_list(CLI::App& app, const std::string& name, std::vector<double>& values, double low, double high,
                      const std::string& help);
CLI::Option* add_list(CLI::App& app, const std::string& name, std::vector<std::string>& values,
                      const std::vector<std::string>& words, const std::string& help);  // no words: any
// Whole numbers kept as text, "0,1,2": empty stands for a default that is decided later, and `word` for what it says.
CLI::Option* add_list(CLI::App& app, const std::string& name, std::string& text, std::int64_t low, std::int64_t high,
                      const std::string& help, const std::string& word = "");
// A list that is read later, as one text: `between` is put between the words of the command line.
CLI::Option* add_text(CLI::App& app, const std::string& name, std::string& text, const std::string& between,
                      const std::string& help);

// Options of several commands: a part of the work (shard.h), and bytes, as 8G, 0 where none are given.
CLI::Option* add_shard(CLI::App& app, std::string& shard, const std::string& help, const std::string& name = "--shard");
CLI::Option* add_max_memory(CLI::App& app, std::int64_t& bytes, const std::string& help);

// Ends a command's help: how it is called, and what words mean that it uses; each note ends in a line feed.
void add_notes(CLI::App& app, const std::vector<std::string>& examples, const std::vector<std::string>& notes = {});

}  // namespace scalelab::host
