// SPDX-License-Identifier: Apache-2.0
// tcp_millrace_app.ts - the TCP echo of the contender Millrace, on one thread (tcp_millrace.ts) as on many
// (workers_millrace.ts).
import type { SocketHandlers } from "../../mod.ts";

const socket: SocketHandlers<undefined> = {
  data(socket, chunk): void {
    if (socket.write(chunk) !== "sent") socket.pause();
  },
  drain: (socket): void => socket.resume(),
};

/** The application. */
export default { socket };
