// SPDX-License-Identifier: Apache-2.0
// Tests of the examples through their pages, in Chromium: what a person clicks,
// types and sees. The chat is in chat_page_test.ts.

import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { Chromium, testPage } from "./browser.ts";
import { Example } from "./example.ts";
import { BACKENDS } from "./testing.ts";

testPage("the echo page shows what comes back", "echo.ts", async (
  { url },
  chromium,
) => {
  const page = await chromium.open(url);
  await page.sees("#status", "Connected");
  await page.fill("#message", "Grüße & <b>Küsse</b>");
  await page.click("#send");
  await page.sees("#log .what", "Grüße & <b>Küsse</b>");
  assertEquals(await page.text("#log .size"), "23 B text");
  await page.click("#binary");
  await page.click("#send");
  await page.sees("#log .size", "23 B binary");
  assertMatch(await page.text("#median"), /^\d+\.\d+ ms$/);

  await page.fill("#interval", "5");
  await page.click("#repeat");
  await page.until(
    async () => await page.number("#count") > 20,
    "messages are repeated",
  );
  assertEquals(await page.texts("#log .bad"), []);
  assert(await page.has("#plot canvas"));
});

testPage("the binary echo page compares each byte", "binary_echo.ts", async (
  { url },
  chromium,
) => {
  const page = await chromium.open(url);
  await page.sees("#status", "Connected");
  for (const size of [0, 1, 125, 126, 65_536, 1_048_576, 16_777_216]) {
    await page.page.select("#size", String(size));
    await page.click("#once");
    await page.sees("#same", /^1$/);
  }
  // Many on their way at once, in their order.
  await page.page.select("#size", "1048576");
  await page.fill("#window", "8");
  await page.click("#run");
  await page.until(
    async () => await page.number("#same") >= 20,
    "twenty echoes of 1 MiB",
  );
  await page.click("#run");
  await page.sees("#run", "Start");
  assertEquals(await page.text("#different"), "0");
  assertMatch(await page.text("#p99"), /^\d+\.\d+ ms$/);
  assert(await page.has("#plot canvas"));
});

testPage(
  "the ticker page follows the topics it is asked to",
  "ticker.ts",
  async ({ url }, chromium) => {
    const [first, second] = [
      await chromium.open(url),
      await chromium.open(url),
    ];
    await first.sees("#connections", /^2$/);
    await second.sees("#OAK .price", /^\d+\.\d\d$/);
    await second.sees("#OAK .subscribers", /^2$/);
    const price = await first.text("#OAK .price");
    await first.until(
      async () => await first.text("#OAK .price") !== price,
      "the price changes",
    );
    // From the wildcard to each symbol by itself, and then not that of OAK.
    await first.click("#all");
    await first.click("#OAK input");
    await second.sees("#OAK .subscribers", /^1$/);
    await second.sees("#ELM .subscribers", /^2$/);
    const oaks = await first.number("#OAK .count");
    const elms = await first.number("#ELM .count");
    await first.until(
      async () => await first.number("#ELM .count") > elms + 5,
      "prices of the others",
    );
    assertEquals(await first.number("#OAK .count"), oaks);
    await first.click("#ELM button");
    await first.sees("#chart-title", "Price of ELM");
    await first.sees("#received", /^[1-9]/);
    assert(await first.has("#plot canvas"));
  },
  "--interval",
  "20",
);

testPage(
  "the ingest page counts batches, and is held back",
  "ingest.ts",
  async (
    { url },
    chromium,
  ) => {
    const page = await chromium.open(url);
    await page.sees("#status", "Connected");
    await page.sees("#stored", /^5,000$/);
    await page.click("#burst");
    await page.sees("#received", /^1,000$/);
    assertEquals(await page.text("#holds"), "0");

    // More than the store takes.
    await page.page.select("#format", "json");
    await page.fill("#rate", "100000");
    await page.click("#run");
    await page.sees("#held", "holds back");
    await page.click("#run");
    await page.sees("#held", "takes all");
    await page.sees("#way", /^0$/);
    assertEquals(await page.text("#received"), await page.text("#sent"));
    assertEquals(await page.text("#bad"), "0");
    // What has waited comes many at once.
    const received = await page.number("#received");
    assert(await page.number("#batches") < received / 2);
    // Nothing comes before 2,000 events of those that wait are stored.
    assert(await page.number("#holds") <= 1 + received / 2000);
  },
);

for (const backend of BACKENDS) {
  Deno.test(`ingest_send.ts tells how its events were taken (${backend})`, async () => {
    const flags = ["--rate", "1000000"];
    await using ingest = await Example.start("ingest.ts", backend, ...flags);
    const url = `ws://127.0.0.1:${ingest.port}/ws`;
    for (const format of [[], ["--json"]]) {
      await using program = new Example(
        "ingest_send.ts",
        "--url",
        url,
        ...format,
      );
      const { code, output, errors } = await program.ended();
      assertEquals([code, errors], [0, ""]);
      assertMatch(output, /^10000 events in .* on average, 0 bad\n$/);
    }
  });
}

Deno.test("ingest_send.ts says what is wrong", async () => {
  const free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const url = `ws://127.0.0.1:${free.addr.port}/ws`;
  free.close();
  const wrong: [flags: string[], code: number, words: string][] = [
    [["--events", "1.5"], 2, '--events must be an integer from 1, is "1.5"'],
    [["--evens", "10"], 2, 'unknown argument "--evens"'],
    [["--url", url], 1, "nobody accepts connections there"],
    [["--url", "nowhere"], 1, "it is no URL such as ws://localhost:8000/"],
  ];
  for (const [flags, expected, words] of wrong) {
    await using program = new Example("ingest_send.ts", ...flags);
    const { code, output, errors } = await program.ended();
    assertEquals([code, output], [expected, ""]);
    assertStringIncludes(errors, words);
  }
});

Deno.test("the page of events shows notes, and misses none", async () => {
  await using example = await new Example("sse.ts", "0").listening("/\n");
  await using chromium = await Chromium.start();
  const reader = await chromium.open(example.url);
  const writer = await chromium.open(example.url);
  await reader.sees("#status", "Connected, 2 readers");
  await writer.fill("#note", "<i>one</i>");
  await writer.page.keyboard.press("Enter");
  await reader.sees("#list .note span", "<i>one</i>");
  await writer.click("#drop");
  await reader.sees("#list .event", "connected again, after note 1");
  await writer.fill("#note", "two");
  await writer.page.keyboard.press("Enter");
  await reader.sees("#list .note span", "two");
  assertEquals((await reader.texts("#list .note")).length, 2);
});
