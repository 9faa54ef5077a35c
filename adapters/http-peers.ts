import { InvalidInput, Transient } from "#core/errors.ts";
import type { Clock, PeerAddress, PeerRequest, Peers } from "#core/ports.ts";
import { authorize, iamAccess, refusalOf, type SiteAccess } from "./site-access.ts";
import { wireErrorOf } from "./wire-error.ts";

/** A peer that does not answer by then is asked again later. */
const requestMs = 30_000;
/** A reply is some hundred bytes. */
const replyBytesMax = 64 * 1024;

/**
 * Other sites over HTTP: requests are signed where the peer's function URL takes signatures, and show this site's token there
 * otherwise. `tokenOf` is read at every request, so that a token may be replaced.
 */
export class HttpPeers implements Peers {
  readonly #tokenOf: (peer: string) => Promise<string | undefined>;
  readonly #clock: Clock;

  constructor(options: { readonly tokenOf: (peer: string) => Promise<string | undefined>; readonly clock: Clock }) {
    this.#tokenOf = options.tokenOf;
    this.#clock = options.clock;
  }

  async ask(peer: PeerAddress, { method, path, body }: PeerRequest): Promise<unknown> {
    const access = await this.#accessTo(peer);
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const headers: Record<string, string> = payload === undefined ? {} : { "content-type": "application/json" };
    const authorized = await authorize(access, { method, url: new URL(peer.url + path), headers, body: payload });
    const reply = await fetch(authorized.url, {
      ...{ method, headers: authorized.headers, redirect: "error", signal: AbortSignal.timeout(requestMs) },
      ...(payload === undefined ? {} : { body: payload }),
    }).catch((cause: unknown) => {
      throw new Transient(`no answer from peer ${peer.name} at ${peer.url}`, {}, { cause });
    });
    const text = await boundedText(reply).catch((cause: unknown) => {
      throw new Transient(`peer ${peer.name} broke off its answer`, {}, { cause });
    });
    const value = parsed(text);
    if (reply.ok && value !== undefined) return value;
    const answer = { status: reply.status, text, date: reply.headers.get("date") };
    throw (
      wireErrorOf(value) ??
      refusalOf(access, answer, this.#clock.now()) ??
      new Transient(`peer ${peer.name} at ${peer.url} answered ${reply.status}, not as a site does`)
    );
  }

  async #accessTo({ name, url, region }: PeerAddress): Promise<SiteAccess> {
    if (region !== null) return iamAccess(url, region);
    const token = await this.#tokenOf(name);
    if (token !== undefined) return { kind: "token", token };
    throw new InvalidInput(
      `this site has no token of peer ${name}: farshore site peer add ${name} … --token-file FILE --data DIR gives it one`,
      { peer: name },
    );
  }
}

/** The reply's text; nothing of one that is longer than any of a site, and no more of it is read. */
async function boundedText({ body }: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body ?? []) {
    bytes += part.length;
    if (bytes > replyBytesMax) return "";
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
