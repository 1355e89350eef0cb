// SPDX-License-Identifier: Apache-2.0
// Tests of the chat through its page, in Chromium: several people, each in a
// tab of its own.

import { assertEquals } from "@std/assert";
import { type Chromium, type Tab, testPage } from "./browser.ts";
import type { Example } from "./example.ts";

/** A tab of somebody who has joined a room. */
async function joined(
  chromium: Chromium,
  { url }: Example,
  name: string,
  room: string,
): Promise<Tab> {
  const tab = await chromium.open(url);
  await tab.sees("#status", "Connected");
  await tab.fill("#name", name);
  await tab.fill("#room", room);
  await tab.click("#enter");
  await tab.sees("#room-title", room);
  return tab;
}

testPage("chat: members see each other and what is said", "chat.ts", async (
  chat,
  chromium,
) => {
  const ada = await joined(chromium, chat, "Ada", "lobby");
  const ben = await joined(chromium, chat, "Ben", "lobby");
  for (const tab of [ada, ben]) {
    await tab.sees("#members", "AdaBen");
    await tab.sees("#rooms", "lobby (2)");
  }
  await ada.sees("#log", "Ben has joined");
  await Promise.all([
    ben.sees("#typing", "Ada is typing …"),
    ada.type("#text", "<b>Hello</b> & welcome"),
  ]);
  await ada.page.keyboard.press("Enter");
  await ben.sees("#log p", "Ada<b>Hello</b> & welcome");
  await ada.sees("#log .own p", "<b>Hello</b> & welcome");
  assertEquals(await ben.text("#typing"), "");

  // Who comes later is shown what was said, and a room that is left goes on.
  const cleo = await joined(chromium, chat, "Cleo", "lobby");
  await cleo.sees("#log p", "<b>Hello</b> & welcome");
  await ben.click("#leave");
  await ada.sees("#log", "Ben has left");
  await ada.sees("#members", /^AdaCleo$/);

  // What a page sends is checked, whatever the page itself would let through.
  await cleo.fill("#name", "<Cleo>");
  await cleo.click("#enter");
  await cleo.sees("#refused", "A name has 1 to 24 letters");
  await cleo.run(`document.getElementById("text").maxLength = 2000`);
  await cleo.fill("#text", "x".repeat(1001));
  await cleo.click("#send");
  await cleo.sees("#refused", "A message has 1 to 1000 characters");

  // Nothing is shown of a room that was left, though it is still on its way.
  await cleo.run(`
    document.getElementById("text").value = "Goodbye";
    document.getElementById("say").requestSubmit();
    document.getElementById("leave").click();
  `);
  await cleo.click("#enter");
  await cleo.sees("#refused", "A name has 1 to 24 letters");
  assertEquals(await cleo.texts("#log li, aside li"), []);
  await ada.sees("#log", "Cleo has left");
});

testPage(
  "chat: rooms are apart, and a lost connection joins again",
  "chat.ts",
  async (
    chat,
    chromium,
  ) => {
    const ada = await joined(chromium, chat, "Ada", "lobby");
    const ben = await joined(chromium, chat, "Ben", "kitchen");
    await ada.sees("#rooms", "kitchen (1)");
    await ben.fill("#text", "only here");
    await ben.click("#send");
    await ben.sees("#log", "only here");
    await ada.fill("#text", "said in the lobby");
    await ada.click("#send");
    await ada.sees("#log", "said in the lobby");
    assertEquals(await ada.texts("#log li"), await ada.texts("#log .own"));

    // Ben goes where Ada is.
    await ben.click("#rooms li:nth-child(1) button");
    await ben.sees("#room-title", "lobby");
    await ben.sees("#log", "said in the lobby");
    await ben.seesNo("#log", "only here");
    await ada.sees("#members", "AdaBen");
    await ada.seesNo("#rooms", "kitchen");

    // More messages than the limit allows cost the connection, and the page opens another one.
    await ben.run(`
      placeholders = [];
      const observer = new MutationObserver(([{ target }]) =>
        placeholders.push(target.placeholder)
      );
      const attributeFilter = ["placeholder"];
      observer.observe(document.getElementById("text"), { attributeFilter });
      for (let count = 0; count < 30; count++) {
        document.getElementById("text").value = "flood " + count;
        document.getElementById("say").requestSubmit();
      }
    `);
    await ada.sees("#log", "Ben has left");
    await ben.until(
      async () =>
        String(await ben.page.evaluate("placeholders")) ===
          "You will join again,",
      "the page says that it joins again, and does",
    );
    await ben.sees("#status", "Connected");
    await ada.sees("#members", "AdaBen");
    await ben.sees("#log", "said in the lobby");
  },
);

testPage(
  "chat: a member that does not keep up is shown, and delays nobody",
  "chat.ts",
  async (
    chat,
    chromium,
  ) => {
    const ada = await joined(chromium, chat, "Ada", "lobby");
    const ben = await joined(chromium, chat, "Ben", "lobby");
    const cleo = await joined(chromium, chat, "Cleo", "lobby");
    await ben.click("#slow");
    await ada.sees("#members", /Benslow, \d+ missed/);
    await ada.fill("#text", "Where is Ben?");
    await ada.click("#send");
    await cleo.sees("#log", "Where is Ben?");
    // A click would wait for the tab, which is slow.
    await ben.run(`document.getElementById("slow").click()`);
    await ada.sees("#members", /Ben\d+ missed/);
    await ada.seesNo("#members", "slow");
  },
);
