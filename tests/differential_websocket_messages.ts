// SPDX-License-Identifier: Apache-2.0
// differential_websocket_messages.ts - cases of upgradeWebSocket(): messages in
// both directions, events, and what a socket tells of itself.

import {
  type Note,
  type Peer,
  type SocketCase,
  told,
} from "./differential_websocket_run.ts";
import {
  BINARY,
  CLOSE,
  closePayload,
  CONTINUATION,
  type FrameInit,
  PING,
  PONG,
  TEXT,
} from "./ws_client.ts";

type Sent = Parameters<WebSocket["send"]>[0];

const text = (payload: string): FrameInit => ({ opcode: TEXT, payload });
const bytes = (...payload: number[]): FrameInit => ({
  opcode: BINARY,
  payload: Uint8Array.from(payload),
});

/** A close frame. */
export function bye(code: number, reason: string = ""): FrameInit {
  return { opcode: CLOSE, payload: closePayload(code, reason) };
}

/** Sends frames, reads as many, and closes. */
function exchange(...frames: FrameInit[]): (client: Peer) => Promise<void> {
  return async (client) => {
    for (const frame of frames) {
      await client.send(frame);
      await client.next();
    }
    await client.close();
  };
}

/** Sends frames and a close frame at one blow. */
function send(...frames: FrameInit[]): (client: Peer) => Promise<void> {
  return (client) => client.send(...frames, bye(1000));
}

function echo(socket: WebSocket): void {
  socket.onmessage = ({ data }): void => socket.send(data);
}

/** Sends values once the socket is open, and notes what throws. */
function sending(
  ...values: unknown[]
): (socket: WebSocket, note: Note) => void {
  return (socket, note) =>
    socket.addEventListener("open", () => {
      for (const value of values) {
        attempt(note, () => socket.send(value as Sent));
      }
      socket.close(4000, "sent");
    });
}

/** Reads everything up to the close frame, and answers it. */
async function untilClose(client: Peer): Promise<void> {
  for (let frame; (frame = await client.next()) !== null;) {
    if (frame.opcode === CLOSE) return await client.close(4000);
  }
}

/** Notes what an action throws. */
export function attempt(note: Note, action: () => unknown): void {
  try {
    action();
    note("no error");
  } catch (error) {
    note(told(error));
  }
}

function resizable(): ArrayBuffer {
  return new ArrayBuffer(3, { maxByteLength: 10 });
}

function detached(): ArrayBuffer {
  const buffer = new ArrayBuffer(4);
  structuredClone(buffer, { transfer: [buffer] });
  return buffer;
}

const received: SocketCase[] = [
  {
    name: "text comes as a string",
    server: echo,
    client: exchange(text("héllo"), text("\ufeffmark"), text("")),
  },
  {
    name: "binary comes as an ArrayBuffer",
    server: echo,
    client: exchange(bytes(1, 2, 3), bytes()),
  },
  {
    name: "binaryType blob",
    server(socket): void {
      socket.binaryType = "blob";
      echo(socket);
    },
    client: exchange(bytes(1, 2, 3)),
  },
  {
    name: "binaryType that is none",
    server(socket, note): void {
      note(socket.binaryType);
      attempt(note, () => {
        socket.binaryType = "text" as BinaryType;
      });
      note(socket.binaryType);
    },
    client: send(bytes(1)),
  },
  {
    name: "fragments with a ping between them",
    server: echo,
    async client(client): Promise<void> {
      await client.send(
        { ...text("one, "), fin: false },
        { opcode: PING, payload: "now" },
        { opcode: CONTINUATION, payload: "two" },
      );
      await client.next();
      await client.next();
      await client.close();
    },
  },
  {
    name: "events own their data",
    server(socket, note): void {
      const kept: ArrayBuffer[] = [];
      socket.onmessage = ({ data }): void => void kept.push(data);
      socket.onclose = (): void =>
        note(kept.map((data) => new Uint8Array(data).toHex()).join());
    },
    client: send(bytes(1, 1), bytes(2, 2), bytes(3, 3)),
  },
  {
    name: "a message as long as a block",
    server: (socket, note) => {
      socket.onmessage = ({ data }): void => note(`${data.length}`);
    },
    client: send(text("x".repeat(70_000))),
  },
  {
    name: "a pong without a ping",
    client: send({ opcode: PONG, payload: "x" }),
  },
  {
    name: "promise reactions run between messages",
    server(socket, note): void {
      socket.onmessage = async ({ data }): Promise<void> => {
        for (let step = 0; step < 3; step++) {
          note(`${data}.${step}`);
          await null;
        }
      };
    },
    client: send(text("1"), text("2"), text("3")),
  },
  {
    name: "promise reactions run before close",
    server(socket, note): void {
      socket.onmessage = async ({ data }): Promise<void> => {
        await null;
        note(`${data} ${socket.readyState}`);
      };
    },
    client: send(text("1"), text("2")),
  },
  {
    name: "what came with a close frame is answered first",
    server: echo,
    client: send(text("1"), text("2")),
  },
];

const events: SocketCase[] = [
  {
    name: "what an event tells",
    server(socket, note): void {
      socket.addEventListener("message", function (event): void {
        const { origin, lastEventId, source, ports, bubbles, cancelable } =
          event;
        note(Deno.inspect({
          ours: this === socket && event.target === socket,
          type: Object.prototype.toString.call(event),
          ...{ origin, lastEventId, source, ports, bubbles, cancelable },
        }));
      });
    },
    client: send(text("1")),
  },
  {
    name: "a message event is not trusted",
    server(socket, note): void {
      socket.onmessage = (event): void => note(`${event.isTrusted}`);
    },
    client: send(text("1")),
  },
  {
    name: "handlers as properties",
    server(socket, note): void {
      note(`${socket.onmessage} ${socket.onopen} ${socket.onerror}`);
      socket.onmessage = (): void => note("first");
      socket.addEventListener("message", () => note("second"));
      socket.onmessage = (): void => note("in place of the first");
      socket.onclose = "no function" as never;
      note(`${socket.onclose}`);
    },
    client: send(text("1")),
  },
  {
    name: "a listener that is an object, once",
    server: (socket, note) =>
      socket.addEventListener(
        "message",
        { handleEvent: (event): void => note(event.type) },
        { once: true },
      ),
    client: send(text("1"), text("2")),
  },
  {
    name: "a listener that throws",
    server(socket, note): void {
      const report = (event: ErrorEvent): void => {
        event.preventDefault();
        note(`reported ${event.error.message}`);
      };
      globalThis.addEventListener("error", report, { once: true });
      socket.onmessage = (): void => {
        throw new Error("by a listener");
      };
      socket.addEventListener("message", () => note("the next listener"));
    },
    client: send(text("1")),
  },
  {
    name: "dispatchEvent by the application",
    server: (socket) =>
      void socket.dispatchEvent(new MessageEvent("message", { data: "mine" })),
    client: send(),
  },
];

const told_: SocketCase[] = [
  {
    name: "what it is",
    server: (socket, note) =>
      note(Deno.inspect({
        isWebSocket: socket instanceof WebSocket,
        isEventTarget: socket instanceof EventTarget,
        named: `${socket} ${socket.constructor.name}`,
        keys: Object.keys(socket),
        constants: [
          socket.CONNECTING,
          socket.OPEN,
          socket.CLOSING,
          socket.CLOSED,
        ],
      })),
    client: send(),
  },
  {
    name: "what it tells",
    server(socket, note): void {
      note(Deno.inspect(socket));
      const { url, extensions, readyState, binaryType } = socket;
      note(Deno.inspect({ url, extensions, readyState, binaryType }));
    },
    client: send(),
  },
  {
    name: "bufferedAmount comes back to 0",
    server: (socket, note) =>
      socket.addEventListener("message", () => {
        socket.send("x".repeat(1000));
        note(`${socket.bufferedAmount >= 1000}`);
        const look = (): void => {
          if (socket.bufferedAmount > 0) setTimeout(look, 1);
          else socket.close(4000, `${socket.bufferedAmount}`);
        };
        look();
      }),
    async client(client): Promise<void> {
      await client.send(text("1"));
      await untilClose(client);
    },
  },
  {
    name: "bufferedAmount of a short message",
    server: (socket, note) =>
      socket.addEventListener("message", () => {
        socket.send("hello");
        note(`${socket.bufferedAmount}`);
        socket.close(4000);
        note(`${socket.bufferedAmount}`);
      }),
    async client(client): Promise<void> {
      await client.send(text("1"));
      await untilClose(client);
    },
  },
];

const sent: SocketCase[] = [
  {
    name: "send() of what is no text",
    server: sending(1, null, undefined, true, {}, [1, 2], "\ud800", 10n),
    client: untilClose,
  },
  {
    name: "send() of what has no text",
    server: sending(Symbol("s")),
    client: untilClose,
  },
  {
    name: "send() of bytes",
    server: sending(
      Uint16Array.of(1, 2),
      new DataView(Uint8Array.of(1, 2, 3).buffer, 1),
      Uint8Array.of(1, 2, 3, 4).subarray(1, 3),
      Uint8Array.of(9).buffer,
      resizable(),
      new Uint8Array(resizable()),
      new ArrayBuffer(0),
    ),
    client: untilClose,
  },
  {
    name: "send() of a buffer that was transferred away",
    server: sending(detached()),
    client: untilClose,
  },
  {
    name: "send() of shared bytes",
    server: sending(
      new SharedArrayBuffer(3),
      new Uint8Array(new SharedArrayBuffer(3)),
    ),
    client: untilClose,
  },
  {
    name: "send() without an argument",
    server: (socket, note) =>
      socket.addEventListener("open", () => {
        attempt(note, () => (socket.send as () => void)());
        socket.close(4000);
      }),
    client: untilClose,
  },
  {
    name: "send() before it is open",
    server(socket, note): void {
      attempt(note, () => socket.send("early"));
      attempt(note, () => (socket.send as () => void)());
      attempt(note, () => socket.send(Symbol("s") as never));
    },
    client: send(),
  },
  {
    name: "send() after close()",
    server: (socket, note) =>
      socket.addEventListener("open", () => {
        socket.close(4000);
        attempt(note, () => socket.send("late"));
        attempt(note, () => socket.send(new SharedArrayBuffer(1) as never));
      }),
    client: untilClose,
  },
  {
    name: "send() after the end",
    server: (socket, note) =>
      socket.addEventListener("close", () => {
        attempt(note, () => socket.send("late"));
        attempt(note, () => socket.close());
        note(`${socket.bufferedAmount}`);
      }),
    client: send(),
  },
  {
    name: "messages keep their order behind a Blob",
    server: sending("a", new Blob(["b"]), "c", new Blob([]), Uint8Array.of(1)),
    client: untilClose,
  },
  {
    name: "bytes behind a Blob are those of the call",
    server: (socket) =>
      socket.addEventListener("open", () => {
        const changed = Uint8Array.of(1);
        socket.send(new Blob(["a"]));
        socket.send(changed);
        changed[0] = 2;
        socket.onmessage = (): void => socket.close(4000);
      }),
    async client(client): Promise<void> {
      await client.next();
      await client.next();
      await client.send(text("go on"));
      await untilClose(client);
    },
  },
];

export const MESSAGE_CASES: readonly SocketCase[] = [
  ...received,
  ...events,
  ...told_,
  ...sent,
];
