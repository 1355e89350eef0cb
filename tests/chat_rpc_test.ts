// SPDX-License-Identifier: Apache-2.0
// Tests of the chat of actions: people at its page, in Chromium, and at its
// terminal client, over TCP and WebSocket.

import { assertEquals, assertStringIncludes } from "@std/assert";
import { testPage } from "./browser.ts";
import { Example } from "./example.ts";
import { BACKENDS, deadline } from "./testing.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** The client for a terminal, as somebody uses it. */
class Terminal implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #output: ReadableStreamDefaultReader<string>;
  readonly #errors: Promise<string>;
  #seen = "";

  constructor(address: string, name: string) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--allow-net",
        "--allow-ffi",
        "examples/chat_rpc_client.ts",
        address,
        name,
      ],
      cwd: ROOT,
      env: { NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#output = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    this.#errors = new Response(this.#child.stderr).text();
  }

  async type(line: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(`${line}\n`));
  }

  async sees(text: string): Promise<void> {
    while (!this.#seen.includes(text)) {
      const { done, value } = await deadline(this.#output.read(), text);
      if (done) throw new Error(`${this.#seen}\n${await this.#errors}`);
      this.#seen += value;
    }
  }

  /** Ctrl+D, and what came of it. */
  async end(): Promise<{ code: number; errors: string }> {
    await this.#input.close();
    return await this.ended();
  }

  /** Waits until it ends by itself. */
  async ended(): Promise<{ code: number; errors: string }> {
    while (!(await deadline(this.#output.read(), "the end")).done);
    const { code } = await this.#child.status;
    return { code, errors: await this.#errors };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#input.abort().catch(() => {});
    await this.#output.cancel();
    await this.#child.status;
    await this.#errors;
  }
}

function tcpOf({ output }: Example): string {
  return /tcp:\/\/\S+/.exec(output)![0];
}

testPage(
  "the chat of actions is one over TCP and WebSocket",
  "chat_rpc.ts",
  async (chat, chromium) => {
    const ada = await chromium.open(chat.url);
    await ada.sees("#status", "Connected");
    await ada.fill("#name", "Ada");
    await ada.click("#enter");
    await ada.sees("#members", "Adawebsocket");

    await using ben = new Terminal(tcpOf(chat), "Ben");
    await ben.sees("Here: Ada (websocket), Ben (tcp)");
    await ada.sees("#log .server", "Ben has joined");
    await ada.sees("#members", "Bentcp");
    await ben.type("Grüße & <b>Küsse</b>");
    await ada.sees("#log p", "BenGrüße & <b>Küsse</b>");
    await ben.sees("Ben: Grüße & <b>Küsse</b>");
    await ada.fill("#text", "Hello Ben");
    await ada.click("#send");
    await ben.sees("Ada: Hello Ben");
    await ada.sees("#log .own p", "Hello Ben");

    // The same client over WebSocket, who is shown what was said before.
    const url = `${chat.url.replace("http", "ws")}/ws`;
    await using cleo = new Terminal(url, "Cleo");
    await cleo.sees("Ada: Hello Ben");
    await ada.sees("#members", "Cleowebsocket");

    await using other = new Terminal(tcpOf(chat), "Ada");
    const refused = await other.ended();
    assertEquals(refused.code, 1);
    assertStringIncludes(refused.errors, "Somebody else is called Ada");

    assertEquals(await ben.end(), { code: 0, errors: "" });
    await ada.sees("#log .server", "Ben has left");
    await ada.seesNo("#members", "Ben");
    await cleo.sees("* Ben has left");
  },
  "--tcp",
  "0",
);

testPage(
  "the chat of actions refuses what it has to",
  "chat_rpc.ts",
  async (chat, chromium) => {
    const ada = await chromium.open(chat.url);
    await ada.sees("#status", "Connected");
    await ada.run(`
      document.getElementById("text").disabled = false;
      document.getElementById("text").value = "too early";
      document.getElementById("say").requestSubmit();
    `);
    await ada.sees("#refused", "Join first");
    await ada.fill("#name", "?");
    await ada.click("#enter");
    await ada.sees("#refused", "A name has 1 to 24 letters");
    await ada.fill("#name", "Ada");
    await ada.click("#enter");
    await ada.sees("#members", "Ada");
    assertEquals(await ada.text("#refused"), "");
    const ben = await chromium.open(chat.url);
    await ben.sees("#status", "Connected");
    await ben.fill("#name", "Ada");
    await ben.click("#enter");
    await ben.sees("#refused", "Somebody else is called Ada");
  },
  "--tcp",
  "0",
);

for (const backend of BACKENDS) {
  Deno.test(`the client for a terminal ends with its server (${backend})`, async () => {
    const flags = ["--tcp", "0"];
    await using chat = await Example.start("chat_rpc.ts", backend, ...flags);
    await using ben = new Terminal(tcpOf(chat), "Ben");
    await ben.sees("Here: Ben (tcp)");
    chat.kill("SIGTERM");
    const gone = await ben.ended();
    assertEquals(gone.code, 1);
    assertStringIncludes(gone.errors, "The server has closed the connection");
    assertEquals((await chat.ended()).code, 0);
  });
}

for (const backend of BACKENDS) {
  Deno.test(`the chat of actions counts what came over TCP, too (${backend})`, async () => {
    await using chat = await Example.start(
      "chat_rpc.ts",
      backend,
      "--tcp",
      "0",
    );
    await using ben = new Terminal(tcpOf(chat), "Ben");
    await ben.sees("Here: Ben (tcp)");
    await ben.type("Nobody is here");
    await ben.sees("Ben: Nobody is here");
    assertEquals(await ben.end(), { code: 0, errors: "" });
    chat.kill("SIGINT");
    const { code, output } = await chat.ended();
    assertStringIncludes(output, "Actions: requests 2, errors 0, pushes 1\n");
    assertEquals(code, 0);
  });
}
