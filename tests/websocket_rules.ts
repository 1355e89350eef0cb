// SPDX-License-Identifier: Apache-2.0
// websocket_rules.ts - every MUST and MUST NOT of RFC 6455 and RFC 7692 that
// concerns an endpoint, in our own words, with what tests it; checked by
// websocket_rules_test.ts.

/** Who has to keep a rule. */
export type Side = "server" | "client" | "both";

export interface Rule {
  /** Of RFC 6455, or, with a D before it, of RFC 7692. */
  section: string;
  side: Side;
  rule: string;
  /**
   * Identifiers of entries of the corpus, of websocket_generated.ts, of websocket_handshakes.ts and, for clients,
   * of websocket_responses.ts; `*` stands for any end. In words: names of tests on both backends.
   */
  tests: string[];
}

function server(section: string, rule: string, ...tests: string[]): Rule {
  return { section, side: "server", rule, tests };
}

function client(section: string, rule: string, ...tests: string[]): Rule {
  return { section, side: "client", rule, tests };
}

function both(section: string, rule: string, ...tests: string[]): Rule {
  return { section, side: "both", rule, tests };
}

// What no test of ours can show:
// 4.2.2 step 1 and 10.6, TLS: the server speaks none, a proxy in front of it does.
// 4.1, proxies, and one connection at a time to an address: for browsers.
// 5.4, intermediaries: the server is an end, and passes no frames on.
// 5.5.1, reasons are not shown to end users: there are none.
// 9.1, extensions are registered: permessage-deflate is.

const HANDSHAKE: Rule[] = [
  server(
    "4.2.1",
    "What is no opening handshake is answered with an error of HTTP.",
    "method-*",
    "http-1-0*",
    "http-2",
    "a-body",
    "a-chunked-body",
    "no-upgrade",
    "another-upgrade",
    "upgrade-of-*",
    "upgrade-with-the-long-s",
    "no-connection",
    "connection-without-upgrade",
    "connection-of-a-longer-name",
    "no-host",
    "two-hosts",
    "folded-line",
    "blank-before-the-colon",
  ),
  server(
    "4.2.1",
    "Names of fields, websocket and Upgrade are read in any case, among others, in any order.",
    "least",
    "upgrade-in-*",
    "upgrade-among-others",
    "connection-in-any-case",
    "connection-among-others",
    "connection-on-two-lines",
    "names-in-*",
    "fields-in-any-order",
    "blanks-around-values",
    "absolute-target",
    "a-later-minor-version",
    "an-empty-body",
  ),
  server(
    "4.2.1",
    "The key is 16 bytes in base64.",
    "no-key",
    "empty-key",
    "key-*",
    "a-key-with-every-kind-of-letter",
  ),
  server("4.2.1", "Fields that are not known are ignored.", "unknown-fields"),
  server(
    "4.2.2",
    "An origin that is not wanted is refused with an error of HTTP.",
    "another-origin",
    "no-origin-that-is-one",
    "origins-on-two-lines",
    "no-origin",
    "its-own-origin",
  ),
  server(
    "4.2.2",
    "A version that is not spoken is refused, with the versions that are.",
    "no-version",
    "version-*",
  ),
  server(
    "4.2.2",
    "A service that there is not is refused with an error of HTTP.",
    "no-such-service",
  ),
  server(
    "4.2.2",
    "The subprotocol is one that the client offers, and there is no field when there is none.",
    "protocols-of-*",
    "protocols-in-another-order",
    "protocol-in-another-case",
    "protocols-on-two-lines",
    "upgrade() throws for a protocol not offered",
  ),
  server(
    "4.2.2",
    "Extensions are some that the client offers, and there is no field when there are none.",
    "extension-that-is-*",
    "offer *",
  ),
  server(
    "4.2.2",
    "The answer is a 101 with Upgrade, Connection and the hash of the key.",
    "least",
    "another-key",
    "upgrade() answers 101 with protocol and fields",
    "middleware may make the 101 anew",
  ),
  server(
    "4.3",
    "Fields that break their grammar are refused.",
    "protocols-empty",
    "protocols-none-but-a-comma",
    "protocol-with-*",
    "protocol-in-quotes",
    "protocols-twice-*",
  ),
  server(
    "4.4",
    "The versions that are spoken are told to a client of another.",
    "version-*",
  ),
  server(
    "9.1",
    "Malformed extensions fail the handshake.",
    "extensions-malformed-*",
  ),
  server(
    "11.3.1",
    "There is one Sec-WebSocket-Key.",
    "keys-on-two-lines",
  ),
  server(
    "11.3.2",
    "Sec-WebSocket-Extensions may be on several lines, and is on one in the answer.",
    "offers-on-two-lines",
  ),
  server(
    "11.3.4",
    "Sec-WebSocket-Protocol may be on several lines, and is on one in the answer.",
    "protocols-on-two-lines",
  ),
  server(
    "11.3.5",
    "There is one Sec-WebSocket-Version.",
    "versions-in-a-list",
    "versions-on-two-lines",
  ),
  client(
    "4.1",
    "The answer is a 101 with the right Upgrade, Connection and hash; anything else fails.",
    "response-*",
  ),
  client(
    "4.1",
    "Extensions and a subprotocol that were not asked for fail the connection.",
    "response-extension-*",
    "response-protocol-*",
  ),
  client(
    "11.3",
    "Fields of the answer that may occur once do.",
    "response-two-*",
  ),
];

const FRAMES: Rule[] = [
  server("5.1", "A frame without a mask closes the connection.", "unmasked-*"),
  server(
    "5.1",
    "A server masks nothing.",
    "messages of every size and kind are sent byte for byte",
  ),
  client(
    "5.1",
    "A frame with a mask closes the connection, and one without is understood.",
    "masked-*",
    "client-*",
  ),
  both(
    "5.2",
    "Reserved bits are 0 unless an extension gives them a meaning.",
    "rsv-*",
    "behind-a-good-message",
  ),
  both("5.2", "An opcode that is not known fails.", "opcode-*"),
  both(
    "5.2",
    "A length is in its shortest form, its highest bit is 0, its highest byte comes first.",
    "length-*",
  ),
  both(
    "5.2",
    "Lengths that are sent are in their shortest form.",
    "messages of every size and kind are sent byte for byte",
  ),
  server("5.3", "Masks are taken off.", "hello*", "masks", "mask-of-zeros"),
  both(
    "5.4",
    "Messages in fragments and whole ones are understood, and delivered in order.",
    "text",
    "binary",
    "empty-*",
    "fragments*",
    "sendFragment sends one message in pieces",
  ),
  both(
    "5.4",
    "Fragments of two messages do not mix, and have a first one.",
    "message-in-a-message*",
    "binary-in-a-text",
    "text-in-a-binary",
    "continuation-*",
    "nothing is sent in the midst of fragments",
  ),
  both(
    "5.4",
    "Control frames in the midst of a message are handled.",
    "control-*",
    "close-between-fragments",
    "interleaved-*",
    "close may come in the midst of fragments",
  ),
  both(
    "5.5",
    "Control frames have at most 125 bytes and are not fragmented.",
    "ping-125",
    "ping-126",
    "pong-126",
    "close-126",
    "ping-64-bits",
    "ping-short-in-16-bits",
    "ping-fragment*",
    "pong-fragment",
    "close-fragment",
    "a socket refuses what must not be sent",
  ),
  both(
    "5.5.1",
    "A close frame has no body, or a code in its first two bytes.",
    "close-one-byte",
    "close",
    "close-empty",
    "close-reason-longest",
  ),
  both(
    "5.5.1",
    "A close frame is answered with one.",
    "close",
    "close-behind-messages",
    "close-and-*",
    "close frames may cross each other",
  ),
  both(
    "5.5.1",
    "No data follows a close frame.",
    "no message follows our close frame",
    "send() after close is dropped",
    "socket.close() sends all, then its code",
  ),
  server(
    "5.5.1",
    "Once both close frames are there TCP is closed, by the server and at once.",
    "the server ends TCP first, and at once",
    "socket.close() sends all, then its code",
  ),
  both(
    "5.5.2",
    "A ping is answered until a close frame has come.",
    "ping",
    "ping-empty",
    "close-behind-a-ping",
    "a ping behind our close frame is answered",
  ),
  both(
    "5.5.3",
    "A pong has the bytes of its ping.",
    "pings",
    "ping-no-utf8",
    "pong",
    "ping() and pong",
  ),
  both(
    "5.6",
    "Texts are UTF-8, whose characters may be cut by frames.",
    "utf8-all-sizes",
    "utf8-bom",
    "utf8-nul",
    "utf8-noncharacters",
    "utf8-character-over-fragments",
    "utf8-ping-in-a-character",
    "deflate-character-over-fragments",
    "utf8-c280*",
    "utf8-f48fbfbf*",
  ),
  both(
    "5.8",
    "Extensions are in use only when they were agreed on.",
    "deflate-rsv1-not-agreed",
  ),
];

const EXCHANGE: Rule[] = [
  both(
    "6.1",
    "Data is sent while the connection is open, and no longer.",
    "send() after close is dropped",
    "nothing is told after close",
  ),
  both(
    "6.1",
    "Opcode and FIN of what is sent are those of the message.",
    "messages of every size and kind are sent byte for byte",
    "sendFragment sends one message in pieces",
  ),
  both(
    "6.2",
    "What comes is parsed as frames, and the first frame says what a message is.",
    "fragments-two-messages",
    "header-cut",
    "length-cut",
    "mask-cut",
    "payload-cut",
    "ping-cut",
    "messages are received byte for byte, cut around every header",
  ),
  both(
    "7.1.2",
    "A closing handshake begins with a close frame of that code and reason.",
    "every legal close code can be sent",
    "socket.close() sends all, then its code",
  ),
  both(
    "7.1.5",
    "The code is that of the first close frame that came; 1005 without one, 1006 without a frame.",
    "close-empty",
    "close-and-close",
    "close frames may cross each other",
    "a peer that leaves without a word is 1006",
  ),
  both(
    "7.1.6",
    "The reason is what is behind the code.",
    "close-reason",
    "close-reason-bom",
    "close-reason-nul",
  ),
  both(
    "7.1.7",
    "After a failure nothing is processed any more, not even a close frame.",
    "nothing-behind-a-violation",
    "a violation behind our close frame ends it",
  ),
  server(
    "7.2.2",
    "A handshake that is given up closes the connection, or leaves HTTP.",
    "an upgrade that is refused leaves HTTP as it was",
  ),
  both(
    "7.4.1",
    "1005, 1006 and 1015 are never sent, nor 1004, which has no meaning.",
    "close-code-1004",
    "close-code-1005",
    "close-code-1006",
    "close-code-1015",
    "no other close code can be sent than a legal one",
  ),
  both(
    "7.4.2",
    "Codes below 1000, those not registered, and those from 5000 on are not used.",
    "close-code-0",
    "close-code-999",
    "close-code-1016",
    "close-code-2999",
    "close-code-3000",
    "close-code-4999",
    "close-code-5000",
    "close-bad-code-and-reason",
  ),
  both(
    "8.1",
    "What is to be UTF-8 and is not fails the connection.",
    "utf8-not-*",
    "utf8-cut-*",
    "utf8-bad-over-fragments",
    "utf8-fails-*",
    "utf8-starts-anew",
    "close-reason-no-utf8",
    "close-reason-cut",
    "close-reason-surrogate",
    "deflate-no-text",
    "deflate-half-a-character",
  ),
  both(
    "10.4",
    "Limits of frames and of messages are kept.",
    "limit*",
    "fragments-most",
    "fragments-one-more",
    "deflate-limit*",
    "a bomb is refused, and takes no memory",
  ),
  both("10.7", "What comes is always validated.", "opcode-*", "utf8-not-*"),
  client(
    "10.3",
    "Each frame has a mask of its own that nobody can foresee.",
    "a client masks messages of every length",
    "a client masks everything else that it sends",
    "keys do not repeat, and no bit of them is constant",
  ),
];

const DEFLATE: Rule[] = [
  server(
    "D5",
    "An offer is declined when its parameters cannot be met.",
    "offer *",
  ),
  server(
    "D7.1",
    "Parameters that are unknown, repeated or malformed are declined.",
    "offer permessage-deflate; unknown *",
    "offer permessage-deflate; server_max_window_bits=16 *",
    "offer permessage-deflate; server_no_context_takeover; server_no_context_takeover *",
  ),
  server(
    "D7.1.1.1",
    "A server that is asked not to takes no context over.",
    "offer permessage-deflate; server_no_context_takeover *",
    "with context takeover a message refers to an earlier one",
  ),
  both(
    "D7.1.1.2",
    "A client that was told not to takes no context over.",
    "deflate-no-takeover",
    "deflate-no-takeover-misused",
  ),
  server(
    "D7.1.2.1",
    "What is sent refers no farther back than the window that was agreed on.",
    "offer permessage-deflate; server_max_window_bits=10 *",
    "what is sent keeps to the window that was agreed on",
  ),
  server(
    "D7.1.2.2",
    "The window of the client is limited only when it says that it can be.",
    "offer permessage-deflate to {*",
    "offer permessage-deflate; client_max_window_bits *",
    "deflate-window-*",
  ),
  both(
    "D6.1",
    "RSV1 marks the first frame of a message, and no other frame.",
    "deflate-rsv1-*",
    "rsv-4-opcode-*",
    "deflate-control-between",
    "fragments are sent as they are",
  ),
  both(
    "D6.2",
    "A message that is marked is inflated, and one that is not is left alone.",
    "deflate-hello*",
    "deflate-plain",
    "deflate-binary",
    "deflate-fragments-of-a-byte",
    "deflate-compressed-is-no-text",
  ),
  both(
    "D7.2.1",
    "A message is deflated with its last four bytes left out.",
    "a compressed message is echoed compressed",
    "deflate-missing-byte",
    "deflate-empty-block-behind",
    "deflate-stored",
    "deflate-by-*",
  ),
  both(
    "D7.2.2",
    "Those are put back before it is inflated; what is no deflate stream fails.",
    "deflate-no-stream",
    "deflate-block-type",
    "deflate-stored-length",
    "deflate-cut-in-*",
    "deflate-too-far-back",
    "deflate-takeover-first",
  ),
  both(
    "D7.2.3",
    "Streams of every form are understood.",
    "deflate-takeover",
    "deflate-takeover-behind-a-plain-one",
    "deflate-bfinal*",
    "deflate-behind-the-final-block",
    "deflate-two-blocks",
    "deflate-blocks-*",
    "deflate-empty",
    "deflate-no-block",
    "deflate-empty-in-fragments",
  ),
];

export const RULES: readonly Rule[] = [
  ...HANDSHAKE,
  ...FRAMES,
  ...EXCHANGE,
  ...DEFLATE,
];

/** The sections that have a MUST for an endpoint. */
export const SECTIONS: readonly string[] = [
  ..."4.1 4.2.1 4.2.2 4.3 4.4 5.1 5.2 5.3 5.4 5.5 5.5.1 5.5.2 5.5.3 5.6 5.8"
    .split(" "),
  ..."6.1 6.2 7.1.2 7.1.5 7.1.6 7.1.7 7.2.2 7.4.1 7.4.2 8.1 9.1 10.3 10.4 10.7"
    .split(" "),
  ..."11.3 11.3.1 11.3.2 11.3.4 11.3.5".split(" "),
  ..."D5 D6.1 D6.2 D7.1 D7.1.1.1 D7.1.1.2 D7.1.2.1 D7.1.2.2 D7.2.1 D7.2.2 D7.2.3"
    .split(" "),
];
