// SPDX-License-Identifier: Apache-2.0
// inherit.ts - opens a listening socket as descriptor 3, says so as systemd
// does, and becomes the program that it is given; run by inherited_test.ts.

const AF_INET = 2;
const SOCK_STREAM = 1;
const FIRST = 3;

const { symbols: libc } = Deno.dlopen("libc.so.6", {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  dup2: { parameters: ["i32", "i32"], result: "i32" },
  execvp: { parameters: ["buffer", "buffer"], result: "i32" },
});

const [program = "", ...args] = Deno.args;
const fd = libc.socket(AF_INET, SOCK_STREAM, 0);
// Not bound: the kernel takes a free port of all addresses.
if (fd < 0 || libc.listen(fd, 16) !== 0) throw new Error("Cannot listen");
Deno.env.set("LISTEN_FDS", "1");
Deno.env.set("LISTEN_PID", `${Deno.pid}`);
Deno.env.set("LISTEN_FDNAMES", "echo");

const strings = [program, ...args].map((text) =>
  new TextEncoder().encode(`${text}\0`)
);
const argv = new BigUint64Array(strings.length + 1);
for (const [at, bytes] of strings.entries()) {
  argv[at] = Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
}
libc.dup2(fd, FIRST);
libc.execvp(strings[0]!, argv);
throw new Error(`Cannot become ${program}`);
