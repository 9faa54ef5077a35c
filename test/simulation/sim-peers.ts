import { wireErrorOf } from "#adapters/wire-error.ts";
import { Transient } from "#core/errors.ts";
import type { PeerAddress, PeerRequest, Peers } from "#core/ports.ts";
import type { Link } from "./link.ts";

/** As adapters/http-peers.ts. */
const requestMs = 30_000;

/** A site's way to the other one: HTTP over a link of its own, which loses and doubles what goes over it. */
export class SimPeers implements Peers {
  /** This site's at the other one. */
  token = "";
  readonly #link: Link;

  constructor(link: Link) {
    this.#link = link;
  }

  async ask({ url }: PeerAddress, { method, path, body }: PeerRequest): Promise<unknown> {
    const reply = await this.#link.transport.send({
      ...{ method, url: url + path, body: body === undefined ? null : JSON.stringify(body), timeoutMs: requestMs },
      headers: { authorization: `Bearer ${this.token}`, "content-type": "application/json" },
    });
    const value: unknown = JSON.parse(Buffer.from(reply.bytes).toString("utf8"));
    if (reply.statusCode < 400) return value;
    throw wireErrorOf(value) ?? new Transient(`the peer answered ${reply.statusCode}`);
  }
}
