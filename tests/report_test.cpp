// The pieces of the page: escaping, encodings, the template, pictures.
#include "host/report.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace scalelab::host {
namespace {

TEST(Report, TextIsEscaped) {
  EXPECT_EQ(html_escape("<b a=\"1\" c='2'>x & y</b>"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;x &amp; y&lt;/b&gt;");
  EXPECT_EQ(html_escape("\u03b8 \u00b1"), "\u03b8 \u00b1");
}

TEST(Report, JsonCannotLeaveItsScript) {
  const nlohmann::json value = {{"</script><script>alert(1)</script>", "<!-- & -->"}, {"x", "caf\u00e9 \u2028"}};
  const std::string text = script_json(value);
  EXPECT_EQ(text.find_first_of("<>&"), std::string::npos) << text;
  EXPECT_EQ(nlohmann::json::parse(text), value);
  EXPECT_NO_THROW(script_json({{"bad", "\xff\xfe"}}));
}

TEST(Report, Base64HasThePublishedVectors) {  // RFC 4648, section 10
  const std::vector<std::pair<std::string, std::string>> vectors = {{"", ""},
                                                                    {"f", "Zg=="},
                                                                    {"fo", "Zm8="},
                                                                    {"foo", "Zm9v"},
                                                                    {"foob", "Zm9vYg=="},
                                                                    {"fooba", "Zm9vYmE="},
                                                                    {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, coded] : vectors) EXPECT_EQ(base64(plain), coded);
  EXPECT_EQ(base64(std::string("\xff\xfe\x00", 3)), "//4A");
}

TEST(Report, CsvQuotesWhatNeedsIt) {
  EXPECT_EQ(csv_of({"a", "b,c"}, {{"1,000", "say \"x\""}, {"two\nlines", "plain"}}),
            "a,\"b,c\"\n\"1,000\",\"say \"\"x\"\"\"\n\"two\nlines\",plain\n");
}

TEST(Report, TheTemplateIsFilledOnceAndWhole) {
  EXPECT_EQ(fill_template("a {{x}} b {{y}} {{x}}", {{"x", "{{y}}"}, {"y", "2"}}), "a {{y}} b 2 {{y}}");
  EXPECT_THROW(fill_template("{{x}}", {}), std::logic_error);
  EXPECT_THROW(fill_template("plain", {{"x", "1"}}), std::logic_error);
  EXPECT_THROW(fill_template("{{x", {{"x", "1"}}), std::logic_error);
}

TEST(Figure, AMapStandsUprightWithItsBoundaryBlackAndItsPointsOnTop) {
  // 8 x 8 cells, upper half (larger y) orange; one blue point in the orange half, one orange in the blue half.
  std::vector<std::uint8_t> labels(64, 0);
  std::fill(labels.begin() + 32, labels.end(), 1);
  const Image plain = draw_map(labels, 4, {}, {});
  ASSERT_EQ(plain.width, 4);
  ASSERT_EQ(plain.height, 4);
  for (int column = 0; column < 4; ++column) {
    EXPECT_EQ(plain.at(0, column), kOrangeArea);
    EXPECT_EQ(plain.at(3, column), kBlueArea);
    // The cells either side of y = 0 are black: half of each pixel there.
    EXPECT_EQ(plain.at(1, column)[0], (kOrangeArea[0] + 1) / 2);
    EXPECT_EQ(plain.at(2, column)[0], (kBlueArea[0] + 1) / 2);
  }
  std::vector<std::uint8_t> large(1024 * 1024, 0);
  const std::vector<float> points = {-0.5F, 0.5F, 0.5F, -0.5F};
  const Image dotted = draw_map(large, 512, points, std::vector<std::uint8_t>{1, 0});
  EXPECT_EQ(dotted.at(128, 128), kOrange);  // x = -0.5 is left, y = 0.5 is up
  EXPECT_EQ(dotted.at(384, 384), kBlue);
  EXPECT_EQ(dotted.at(128, 384), kBlueArea);
  EXPECT_EQ(dotted.at(384, 128), kBlueArea);
}

TEST(Figure, PointsAtTheRimStayInThePicture) {
  const std::vector<std::uint8_t> labels(1024 * 1024, 0);
  const std::vector<float> corners = {-1.F, -1.F, 1.F, 1.F, -1.F, 1.F, 1.F, -1.F};
  const Image image = draw_map(labels, 512, corners, std::vector<std::uint8_t>{1, 1, 1, 1});
  EXPECT_EQ(image.at(0, 0), kOrange);
  EXPECT_EQ(image.at(511, 511), kOrange);
}

TEST(Figure, EveryLetterOfANameIsDrawn) {
  for (const char letter : std::string("abcdefghiklmnoprstuvwxyz0123456789+-.,%=N")) {
    if (letter == 'z') continue;  // in no model's name
    Image image(20, 10, {255, 255, 255});
    EXPECT_EQ(draw_text(image, 1, 1, std::string(1, letter), 1, {0, 0, 0}), 6);
    const auto ink = std::count(image.pixels.begin(), image.pixels.end(), Rgb{0, 0, 0});
    EXPECT_GE(ink, 3) << letter;
  }
}

}  // namespace
}  // namespace scalelab::host
