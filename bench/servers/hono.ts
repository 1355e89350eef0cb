// SPDX-License-Identifier: Apache-2.0
// hono.ts - the Hono application that every server runs for the workload `hono`.
import { Hono } from "hono";

const app = new Hono();
app.get("/", (c) => c.text("Hello Hono!"));

/** Its handler. */
export const fetch: (request: Request) => Response | Promise<Response> =
  app.fetch;
