import { Transient } from "#core/errors.ts";
import type { PeerAddress, PeerRequest, Peers } from "#core/ports.ts";

export type PeerFault = "lost" | "answer-lost" | "twice" | "late";

/**
 * Peers that may not hear, or not be heard: `lost` before it came, `answer-lost` after it was done, `twice` done two times, `late`
 * done again after the answer (`flush`), in whatever order.
 */
export class FaultyPeers implements Peers {
  readonly #peers: Peers;
  readonly #fault: (request: PeerRequest) => PeerFault | undefined;
  readonly #late: { readonly peer: PeerAddress; readonly request: PeerRequest }[] = [];

  constructor(peers: Peers, fault: (request: PeerRequest) => PeerFault | undefined) {
    this.#peers = peers;
    this.#fault = fault;
  }

  async ask(peer: PeerAddress, request: PeerRequest): Promise<unknown> {
    const fault = this.#fault(request);
    if (fault === "lost") throw new Transient(`${request.method} ${request.path} was lost`);
    const answer = await this.#peers.ask(peer, request);
    if (fault === "answer-lost") throw new Transient(`the answer to ${request.method} ${request.path} was lost`);
    if (fault === "late") this.#late.push({ peer, request });
    return fault === "twice" ? this.#peers.ask(peer, request) : answer;
  }

  /** What was late comes now, once more; refusals are nobody's any longer. */
  async flush(): Promise<void> {
    for (const { peer, request } of this.#late.splice(0).reverse()) {
      await this.#peers.ask(peer, request).catch(() => undefined);
    }
  }
}
