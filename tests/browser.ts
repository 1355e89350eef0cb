// SPDX-License-Identifier: Apache-2.0
// browser.ts - Chromium for tests that talk through the pages of the examples.

import { assertEquals } from "@std/assert";
import { type Browser, launch, type Page } from "puppeteer-core";
import { Example } from "./example.ts";
import { BACKENDS, deadline, sleep } from "./testing.ts";

const CHROMIUM = "/usr/bin/chromium";
const POLL_MS = 20;

/**
 * Registers a test of an example for each backend. In the end no page must have
 * logged an error, and neither the example, which ends when it is told to.
 */
export function testPage(
  name: string,
  file: string,
  fn: (example: Example, chromium: Chromium) => Promise<void>,
  ...flags: string[]
): void {
  for (const backend of BACKENDS) {
    Deno.test(`${name} (${backend})`, async () => {
      await using example = await Example.start(file, backend, ...flags);
      {
        await using chromium = await Chromium.start();
        await fn(example, chromium);
        assertEquals(chromium.complaints, []);
      }
      example.kill("SIGINT");
      const { code, errors } = await example.ended();
      assertEquals([code, errors], [0, ""]);
    });
  }
}

/** A browser of its own process, which ends with the test. */
export class Chromium implements AsyncDisposable {
  readonly #browser: Browser;
  readonly #complaints: string[] = [];

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async start(): Promise<Chromium> {
    const browser = await launch({
      executablePath: CHROMIUM,
      // By a pipe, so that Chromium ends when the tests do, however that happens.
      pipe: true,
      // Else all that goes through a WebSocket is sent to the tests, too.
      networkEnabled: false,
      args: [
        // Containers have little of /dev/shm.
        "--disable-dev-shm-usage",
        ...Deno.uid() === 0 ? ["--no-sandbox"] : [],
      ],
    });
    return new Chromium(browser);
  }

  /** Opens a page as another person would: in a process that no other tab has. */
  async open(url: string): Promise<Tab> {
    const context = await this.#browser.createBrowserContext();
    const page = await context.newPage();
    page.on("pageerror", (error) => this.#complaints.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") this.#complaints.push(message.text());
    });
    await page.goto(url);
    return new Tab(page);
  }

  /** What the pages have logged as errors, and what they threw. */
  get complaints(): readonly string[] {
    return this.#complaints;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}

/** A page that is open, and what a person does and sees in it. */
export class Tab {
  constructor(readonly page: Page) {}

  async click(selector: string): Promise<void> {
    await this.page.locator(selector).click();
  }

  /** Replaces what is in a field. */
  async fill(selector: string, text: string): Promise<void> {
    await this.page.locator(selector).fill(text);
  }

  /** Types at the end of a field, key by key. */
  async type(selector: string, text: string): Promise<void> {
    await this.page.type(selector, text);
  }

  /** Runs a script in the page. */
  async run(script: string): Promise<void> {
    await this.page.evaluate(script);
  }

  /** The texts of all elements that match. */
  texts(selector: string): Promise<string[]> {
    return this.page.$$eval(
      selector,
      (found) => found.map((element) => element.textContent.trim()),
    );
  }

  /** The text of the first element that matches. */
  async text(selector: string): Promise<string> {
    return (await this.texts(selector))[0] ?? "";
  }

  /** The number that an element shows, without the commas of thousands. */
  async number(selector: string): Promise<number> {
    return parseFloat((await this.text(selector)).replaceAll(",", ""));
  }

  /** Whether anything matches. */
  async has(selector: string): Promise<boolean> {
    return await this.page.$(selector) !== null;
  }

  /** Waits until one of the elements that match has the text. */
  async sees(selector: string, text: string | RegExp): Promise<void> {
    const matches = (found: string): boolean =>
      typeof text === "string" ? found.includes(text) : text.test(found);
    await this.until(
      async () => (await this.texts(selector)).some(matches),
      `${selector} shows ${text}`,
    );
  }

  /** Waits until no element that matches has the text. */
  async seesNo(selector: string, text: string): Promise<void> {
    await this.until(
      async () =>
        !(await this.texts(selector)).some((found) => found.includes(text)),
      `${selector} shows no ${text}`,
    );
  }

  /** Waits until the condition holds. */
  async until(condition: () => Promise<boolean>, what: string): Promise<void> {
    let waits = true;
    const wait = async (): Promise<void> => {
      while (waits && !await condition()) {
        await sleep(POLL_MS);
      }
    };
    try {
      await deadline(wait(), what);
    } finally {
      waits = false;
    }
  }
}
