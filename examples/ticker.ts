// SPDX-License-Identifier: Apache-2.0
// ticker.ts - prices for any number of subscribers: one publisher, a topic for each symbol, and the latest price for
// who is too slow for all of them; deno run --allow-net --allow-ffi examples/ticker.ts

import { type HttpServer, type Message, websocket } from "../mod.ts";
import { listen, type ListenOptions, run } from "./command.ts";
import { plot } from "./plot.ts";
import { page, router, upgrade } from "./routes.ts";
import html from "./ticker.html" with { type: "text" };

const USAGE =
  `Usage: deno run --allow-net --allow-ffi examples/ticker.ts [options]

  --addr HOST:PORT  where to listen (default "127.0.0.1:9001")
  --backend NAME    auto, io_uring or epoll (default auto)
  --interval MS     milliseconds between two prices of a symbol (default 100)
  --help            print this`;

const SYMBOLS = ["ALDER", "ASH", "BEECH", "ELM", "FIR", "LIME", "OAK", "YEW"];
const FIRST_PRICE = 100;
const STEP = 0.001; // of a price, at most
const TOPIC = /^ticker\/(\*|[A-Z]+)$/;
const STATISTICS = "statistics";
const STATISTICS_MS = 1000;

/** The prices, which take a random walk. */
const prices = new Map(SYMBOLS.map((symbol) => [symbol, FIRST_PRICE]));

/** What has happened since statistics were published last. */
const counts = { published: 0, delivered: 0, replaced: 0 };

const ticker = websocket({
  open(socket): void {
    socket.subscribe(STATISTICS);
    socket.sendJson({ type: "prices", prices: Object.fromEntries(prices) });
  },
  message(socket, message): void {
    const { subscribe, unsubscribe } = parse(message);
    if (isTopic(subscribe)) socket.subscribe(subscribe);
    if (isTopic(unsubscribe)) socket.unsubscribe(unsubscribe);
  },
  dropped: () => void counts.replaced++,
}, {
  maxMessageBytes: 1024,
  maxMessagesPerSecond: 50,
  // A price that waits for a slow subscriber gives way to the next one of its symbol.
  slowConsumer: "coalesce",
  highWatermark: 16 * 1024,
});

function parse(message: Message): Record<string, unknown> {
  try {
    return Object(JSON.parse(String(message)));
  } catch {
    return {};
  }
}

function isTopic(topic: unknown): topic is string {
  if (typeof topic !== "string") return false;
  const symbol = TOPIC.exec(topic)?.[1];
  return symbol === "*" || symbol !== undefined && prices.has(symbol);
}

function publishPrices(server: HttpServer): void {
  const at = Date.now();
  for (const [symbol, last] of prices) {
    const price = last * (1 + STEP * (2 * Math.random() - 1));
    prices.set(symbol, price);
    const quote = JSON.stringify({ type: "price", symbol, price, at });
    // Encoded once, whoever follows; the key says which earlier message it may replace.
    const key = symbol;
    counts.delivered += server.publish(`ticker/${symbol}`, quote, { key });
    counts.published++;
  }
}

function publishStatistics(server: HttpServer): void {
  const message = JSON.stringify({
    type: "statistics",
    connections: server.subscriberCount(STATISTICS),
    subscribers: Object.fromEntries(
      SYMBOLS.map((name) => [name, server.subscriberCount(`ticker/${name}`)]),
    ),
    ...counts,
  });
  Object.assign(counts, { published: 0, delivered: 0, replaced: 0 });
  server.publish(STATISTICS, message, { key: STATISTICS });
}

const handle = router({
  ...page(html),
  ...plot,
  "/ws": upgrade((request) => ticker.upgrade(request)),
});

function start(
  options: ListenOptions,
  { interval }: { interval: number },
): void {
  const server = listen(options, handle);
  const timers = [
    setInterval(() => publishPrices(server), interval),
    setInterval(() => publishStatistics(server), STATISTICS_MS),
  ];
  void server.finished.then(() => timers.forEach(clearInterval));
}

if (import.meta.main) {
  await run({
    usage: USAGE,
    addr: "127.0.0.1:9001",
    integers: { interval: { preset: 100, min: 1 } },
    start,
  });
}
