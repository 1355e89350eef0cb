// SPDX-License-Identifier: Apache-2.0
// workers_socket_app.ts - an application of plain sockets for the tests of workers.

import type { WorkerModule } from "../lib/workers.ts";

export default {
  socket: {
    data: (socket, chunk) => void socket.write(chunk),
    shutdown: (socket) => socket.end(),
  },
} satisfies WorkerModule;
