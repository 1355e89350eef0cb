// SPDX-License-Identifier: Apache-2.0
// ws_extensions.ts - the grammar of Sec-WebSocket-Extensions (RFC 6455 section 9.1); called by
// ws_handshake.ts, ws_deflate.ts and ws_client_deflate.ts.

/** An extension that a client offers, or a server has chosen. */
export interface ExtensionOffer {
  name: string;
  /** Parameters with their values, true for those without. */
  parameters: Map<string, string | true>;
  /** A parameter was named twice; the map has the first. */
  repeated: boolean;
}

const SPACE = /[\t ]*/y;
const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
// A quoted value must be a token once its quotes and backslashes are gone.
const QUOTED = /"((?:\\?[!#$%&'*+\-.^_`|~0-9A-Za-z])+)"/y;

/** The offers of a field in order, or null when it is malformed. Takes time in proportion to its length. */
export function parseExtensions(field: string): ExtensionOffer[] | null {
  const offers: ExtensionOffer[] = [];
  const text = new Scanner(field);
  do {
    // Members of a list may be empty (RFC 9110 section 5.6.1).
    const name = text.token();
    if (name === null) continue;
    const offer = { name, parameters: new Map(), repeated: false };
    while (text.skip(";")) {
      if (!parseParameter(text, offer)) return null;
    }
    offers.push(offer);
  } while (text.skip(","));
  return text.atEnd ? offers : null;
}

function parseParameter(text: Scanner, offer: ExtensionOffer): boolean {
  const name = text.token();
  if (name === null) return false;
  const value = text.skip("=") ? text.token() ?? text.quoted() : true;
  if (value === null) return false;
  if (offer.parameters.has(name)) {
    offer.repeated = true;
  } else {
    offer.parameters.set(name, value);
  }
  return true;
}

/** Reads a field from its start to its end; white space before what is read does not matter. */
class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get atEnd(): boolean {
    this.#take(SPACE);
    return this.#at === this.#text.length;
  }

  skip(character: string): boolean {
    this.#take(SPACE);
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  token(): string | null {
    this.#take(SPACE);
    return this.#take(TOKEN)?.[0] ?? null;
  }

  quoted(): string | null {
    this.#take(SPACE);
    return this.#take(QUOTED)?.[1]?.replaceAll("\\", "") ?? null;
  }

  #take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found !== null) this.#at = pattern.lastIndex;
    return found;
  }
}
